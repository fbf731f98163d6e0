"""From the parts of a module, as its kind of adapter stores them, to the change that they mean."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from enogu.core.records.errors import Refused
from enogu.merge.adapters.change import Change, Full, Hadamard, Kronecker, LowRank

Parts = Mapping[str, Tensor]


def decode(module: str, parts: Parts, alpha: float | None) -> Change | None:
    """Return the change of a module's weight, or None if it has none; `alpha` stands in where the file has no alpha.

    Without any alpha the scale is 1: alpha is the rank (kohya, ComfyUI).
    """
    try:
        if "up" in parts and "down" in parts:
            return _lora(parts, alpha)
        if "w1_a" in parts:
            return _loha(parts, alpha)
        if parts.keys() & {"k1", "k1_a"}:
            return _lokr(parts, alpha)
    except (KeyError, RuntimeError, IndexError, ValueError) as problem:
        shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in parts.items())
        raise Refused(f"{module}: its parts do not fit together ({shapes}): {problem}") from None
    if "diff" in parts:
        return Full(_matrix(parts["diff"]))
    if lone := parts.keys() & {"up", "down"}:
        raise Refused(f"{module} has the part {min(lone)!r} without the other; the file is damaged")
    return None


def _lora(parts: Parts, alpha: float | None) -> Change:
    """LoRA and LoCon: up · down, with a core tensor between them if convolutions were decomposed twice (CP, Tucker)."""
    down = _matrix(parts["down"])
    scale = _scale(parts, alpha, rank=len(down))
    if "mid" not in parts:
        return LowRank(_matrix(parts["up"]), down, scale)
    return LowRank(_matrix(parts["up"]), _with_core(parts["mid"], down), scale)


def _loha(parts: Parts, alpha: float | None) -> Change:
    scale = _scale(parts, alpha, rank=len(parts["w1_b"]))
    if "t1" not in parts:
        first = LowRank(parts["w1_a"], parts["w1_b"], scale)
        return Hadamard(first, LowRank(parts["w2_a"], parts["w2_b"], 1.0))
    first = LowRank(parts["w1_a"].T, _with_core(parts["t1"], parts["w1_b"]), scale)
    return Hadamard(first, LowRank(parts["w2_a"].T, _with_core(parts["t2"], parts["w2_b"]), 1.0))


def _lokr(parts: Parts, alpha: float | None) -> Change:
    """Each factor may be whole or of low rank; two whole ones have the scale 1, whatever alpha says."""
    rank = next((len(parts[name]) for name in ("k2_b", "k1_b") if name in parts), 0)
    first = _matrix(parts["k1"]) if "k1" in parts else parts["k1_a"] @ parts["k1_b"]
    if "k2" in parts:
        second = parts["k2"].reshape(*parts["k2"].shape[:2], -1)
    elif "kt2" in parts:
        core = _with_core(parts["kt2"], parts["k2_b"])
        second = (parts["k2_a"].T @ core).reshape(parts["k2_a"].shape[1], parts["k2_b"].shape[1], -1)
    else:
        flat = parts["k2_a"] @ parts["k2_b"].reshape(rank, -1)
        second = flat.reshape(len(flat), parts["k2_b"].shape[1], -1)
    return Kronecker(first, second, _scale(parts, alpha, rank=rank) if rank else 1.0)


def _with_core(core: Tensor, down: Tensor) -> Tensor:
    """Contract a core (p, q, kernel) with (q, inputs): (p, inputs · kernel)."""
    return torch.einsum("pqk,qi->pik", core.reshape(*core.shape[:2], -1), down).reshape(len(core), -1)


def _scale(parts: Parts, alpha: float | None, *, rank: int) -> float:
    value = float(parts["alpha"]) if "alpha" in parts else alpha
    if value is None or math.isinf(value):
        return 1.0
    return value / rank


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1) if tensor.ndim > 1 else tensor.reshape(-1, 1)
