"""A merge kept within the range of its parents."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, Weights, method


@method(grain="element")
def clamp(value: Weight, models: Weights) -> Weight:
    """Keep every element between the least and the greatest of the models (meh, "weights clip")."""
    stack = torch.stack(list(models))
    result: Tensor = value.clamp(stack.amin(0), stack.amax(0))
    return result
