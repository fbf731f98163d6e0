"""Eight-bit floats: which tensors may be narrowed, and how a scale travels with them."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from enogu.core.networks.header import TensorInfo
from enogu.core.networks.keys import place
from enogu.core.records.errors import Refused

DTYPES: Mapping[str, torch.dtype] = {"fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
CONVENTIONS = ("legacy", "comfy")
# first and last layers, embeddings of time, label, token and place: small, and the rest leans on them
WIDE = ("input_blocks.0.0.", ".out.2.", "time_embed.", "label_emb.", "token_embedding", "position", "text_projection")
LEGACY_SCALE, COMFY_SCALE, COMFY_NOTE = ".scale_weight", ".weight_scale", ".comfy_quant"
SIDE = (LEGACY_SCALE, COMFY_SCALE, COMFY_NOTE, ".scale_input", ".input_scale")
MARKER = "model.diffusion_model.scaled_fp8"
FORMATS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fn_rowwise", "int8_tensorwise", "int8_rowwise")  # that are read
QUANTIZATION = "_quantization_metadata"  # ComfyUI's list of quantised layers in the header


def may_narrow(key: str, info: TensorInfo) -> bool:
    """Return whether a tensor may go into 8 bits: matrices and kernels of UNet and text encoders, none at the ends."""
    inner = place(key).component in ("unet", "te1", "te2") and not place(key).fixed
    return (
        inner and info.is_float and len(info.shape) >= 2 and key.endswith("weight") and not any(w in key for w in WIDE)
    )


def may_scale(key: str, info: TensorInfo) -> bool:
    """Return whether ComfyUI multiplies a weight by its scale: only the UNet's matrices (comfy/ops.py, comfy/sd.py)."""
    return may_narrow(key, info) and len(info.shape) == 2 and place(key).component == "unet"


def narrow(values: Tensor, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """Round to 8 bits; what is too large becomes the largest number, not NaN."""
    limit = torch.finfo(dtype).max
    return (values.float() / scale).clamp(-limit, limit).to(dtype)


def best_scale(pieces: Iterable[Tensor], dtype: torch.dtype) -> float:
    """Return the scale at which the largest element is the largest number of the dtype."""
    ends = [float(end) for values in pieces for end in torch.aminmax(values.float())]
    return max(map(abs, ends), default=0.0) / torch.finfo(dtype).max or 1.0


def side_tensors(layer: str, scale: float, *, convention: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors that accompany a scaled weight (ComfyUI, before and since its quantised operations)."""
    value = torch.tensor(scale, dtype=torch.float32)
    if convention == "legacy":
        return {layer + LEGACY_SCALE: value}
    note = json.dumps({"format": str(dtype).removeprefix("torch.")}).encode()
    return {layer + COMFY_SCALE: value, layer + COMFY_NOTE: torch.tensor(list(note), dtype=torch.uint8)}


def quantization_note(layers: Mapping[str, torch.dtype]) -> str:
    """Return the header's list of layers for ComfyUI."""
    listed = {layer: {"format": str(dtype).removeprefix("torch.")} for layer, dtype in layers.items()}
    return json.dumps({"format_version": "1.0", "layers": listed}, sort_keys=True)


def is_marker(key: str) -> bool:
    """Return whether a key only says that a file's weights are scaled."""
    return key == "scaled_fp8" or key.endswith(".scaled_fp8")


def scale_key(key: str, names: Mapping[str, Any]) -> str:
    """Return the key of a weight's scale in a file, or nothing if it has none."""
    layer = key.removesuffix(".weight")
    return next((layer + ending for ending in (COMFY_SCALE, LEGACY_SCALE) if layer + ending in names), "")


def widen(values: Tensor, scale: Tensor, start: int, *, shape: tuple[int, ...]) -> Tensor:
    """Return flat elements from `start` on as float32, times one scale or one per row."""
    if scale.numel() == 1:
        return values.float() * scale.float().reshape(())
    if scale.numel() != shape[0]:
        raise Refused(
            f"a scale of shape {list(scale.shape)} for a weight of shape {list(shape)}: blockwise fp8 is not read"
        )
    width = max(math.prod(shape[1:]), 1)
    rows = (torch.arange(start, start + len(values)) // width).clamp(max=shape[0] - 1)
    return values.float() * scale.float().reshape(-1)[rows]
