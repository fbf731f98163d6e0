"""One number for a picture: an ONNX model that says it, or an image encoder under a head that is one affine map.

LAION's improved-aesthetic-predictor is five linear layers with nothing between them (its released linearMSE weights),
so it is one vector and one bias over the normalised embedding of CLIP ViT-L/14. Embeddings are kept in the record:
another head then costs a product, not another look at every picture.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.stream import Reader
from enogu.core.networks.tagger import Vision
from enogu.core.records.errors import Refused

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """score = embedding / |embedding| @ weight + bias."""

    weight: NDArray[np.float64]
    bias: float

    def scores(self, embeddings: NDArray[np.floating]) -> Floats:
        """Return a score per row of (N, width)."""
        wide = embeddings.astype(np.float64)
        length = np.linalg.norm(wide, axis=1, keepdims=True)
        return np.asarray(wide / np.maximum(length, 1e-12) @ self.weight + self.bias, np.float32)


@dataclass(frozen=True)
class Scorer:
    """A loaded scorer; `head` is None where the model says the score itself."""

    vision: Vision
    head: Head | None
    classes: NDArray[np.float32]  # what each output counts; one 1 for a model with one output

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> "Scorer":
        """Load a folder with model.onnx, or with encoder.onnx and head.safetensors."""
        whole, encoder, head = (folder / name for name in ("model.onnx", "encoder.onnx", "head.safetensors"))
        if whole.is_file():
            vision = Vision.open(whole, threads=threads)
            # several outputs are classes from worst to best: the score is their mean place (imgutils' anime_aesthetic)
            return cls(
                vision, None, np.arange(vision.width, dtype=np.float32) if vision.width > 1 else np.ones(1, np.float32)
            )
        if encoder.is_file() and head.is_file():
            vision, folded = Vision.open(encoder, threads=threads), fold(head)
            if vision.width != len(folded.weight):
                raise Refused(
                    f"{encoder} gives {vision.width} numbers but {head.name} takes {len(folded.weight)}: not a pair"
                )
            return cls(vision, folded, np.ones(1, np.float32))
        raise Refused(f"no scorer at {folder}: it has neither model.onnx, nor encoder.onnx beside head.safetensors")

    def scores(self, outputs: Floats) -> Floats:
        """Return a score per picture for the model's outputs (N, outputs)."""
        return self.head.scores(outputs) if self.head else outputs @ self.classes


def fold(path: Path) -> Head:
    """Multiply the linear layers of a head into one; layers are taken in the order of the numbers in their names."""
    with Reader(path) as reader:
        tensors = {key: reader.tensor(key).double().numpy() for key in reader.header.tensors}
    layers = sorted((key[: -len(".weight")] for key in tensors if key.endswith(".weight")), key=_number)
    if not layers:
        raise Refused(f"{path} holds no layer NAME.weight: a head is a chain of linear layers")
    width = tensors[f"{layers[0]}.weight"].shape[-1]
    matrix, bias = np.eye(width), np.zeros(width)
    for layer in layers:
        weight = tensors[f"{layer}.weight"]
        if weight.ndim != 2 or weight.shape[1] != len(bias):
            raise Refused(f"{path}: {layer}.weight is {weight.shape}, not (any, {len(bias)}): not a chain of layers")
        matrix, bias = weight @ matrix, weight @ bias + tensors.get(f"{layer}.bias", np.zeros(len(weight)))
    if len(bias) != 1:
        raise Refused(f"{path} ends in {len(bias)} numbers; a score is one")
    return Head(matrix[0], float(bias[0]))


def _number(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]
