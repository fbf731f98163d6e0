"""AdamW's moments under the names of their parameters: what an exact resume needs besides the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

MOMENTS = {"moment1": "exp_avg", "moment2": "exp_avg_sq"}  # group in a state file: key in torch.optim.AdamW


def moments(optimizer: torch.optim.AdamW, parameters: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return groups of tensors by parameter name; parameters that were not updated yet are left out."""
    held = optimizer.state
    updated = {name: held[p] for name, p in parameters.items() if p in held}
    groups = {group: {name: state[key] for name, state in updated.items()} for group, key in MOMENTS.items()}
    return {**groups, "steps": {name: state["step"].reshape(1) for name, state in updated.items()}}


@torch.no_grad()
def put_back(
    optimizer: torch.optim.AdamW, parameters: Mapping[str, Tensor], groups: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Give an optimizer the moments that `moments` returned, in the memory layout of its parameters."""
    for name, steps in groups.get("steps", {}).items():
        parameter = parameters[name]
        held = {key: torch.empty_like(parameter).copy_(groups[group][name]) for group, key in MOMENTS.items()}
        optimizer.state[parameter] = {"step": steps.reshape(()).clone(), **held}
