"""One checkpoint into another: dtype, 8 bits, components of other files, repairs; streamed, tensor by tensor."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.fp8 import (
    CONVENTIONS,
    DTYPES,
    MARKER,
    QUANTIZATION,
    best_scale,
    may_narrow,
    narrow,
    quantization_note,
    side_tensors,
)
from enogu.core.networks.header import Spec, TensorInfo
from enogu.core.networks.keys import TEXT_ENCODERS, place, why_fixed
from enogu.core.networks.source import Source, open_source
from enogu.core.networks.stream import HASH_PLACEHOLDER, Written, as_bytes, open_writer
from enogu.core.records.errors import Refused, unknown
from enogu.core.records.progress import Progress, silent

WIDE_DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TARGETS = ("same", *WIDE_DTYPES, *DTYPES)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to change; the defaults change nothing but damage."""

    dtype: str = "same"
    scaled: str = ""  # with an 8-bit dtype: "legacy" or "comfy" scales per weight, or none
    parts: Mapping[str, Path] = field(default_factory=dict)  # component -> the file that it is taken from
    prune: bool = False  # drop moving averages and what belongs to no component

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.dtype not in TARGETS:
            raise unknown("dtype", self.dtype, TARGETS)
        if self.scaled and self.scaled not in CONVENTIONS:
            raise unknown("fp8 convention", self.scaled, CONVENTIONS)
        if self.scaled and self.dtype not in DTYPES:
            raise Refused(f"scales belong to 8-bit dtypes ({', '.join(DTYPES)}), not to {self.dtype}")


@dataclass
class Converted:
    """What was done: tensors by fate, and the error of 8-bit weights relative to their size."""

    written: Written | None = None
    repaired: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> list[tuple[str, float]]:
        """Return the weights that suffered most."""
        return sorted(self.errors.items(), key=lambda item: -item[1])[:5]


def convert(path: Path, out: Path, change: Conversion, *, progress: Progress = silent) -> Converted:
    """Write a changed copy of a checkpoint."""
    with ExitStack() as stack:
        main = stack.enter_context(open_source(path))
        parts = {name: stack.enter_context(open_source(file)) for name, file in change.parts.items()}
        work = _Work(change, main, parts)
        specs = work.specs()
        writer = stack.enter_context(open_writer(out, specs, work.metadata()))
        for done, (name, info) in enumerate(writer.infos.items()):
            writer.write(name, as_bytes(work.tensor(name, specs[name]).contiguous()))
            progress(done + 1, len(specs), "tensors")
            assert info.numel == math.prod(specs[name].shape)
    work.result.written = writer.written
    return work.result


class _Work:
    def __init__(self, change: Conversion, main: Source, parts: Mapping[str, Source]) -> None:
        self.change, self.result = change, Converted()
        self.origin: dict[str, Source] = {}
        for key in main.header.tensors:
            if place(key).component not in parts:
                self.origin[key] = main
        for component, source in parts.items():
            found = [key for key in source.header.tensors if place(key).component == component]
            if not found:
                raise Refused(f"{source.path} has no {component} to take")
            self.origin |= dict.fromkeys(found, source)
        self.main = main
        self.side: dict[str, Tensor] = {}

    def specs(self) -> dict[str, Spec]:
        """Decide about every tensor from the headers; scales are measured here, because they are tensors too."""
        specs = {}
        for key in self.origin:
            if self.change.prune and (
                place(key).fixed == "ema" or (place(key).component == "other" and not place(key).fixed)
            ):
                self.result.dropped.append(key)
                continue
            specs[key] = Spec(self._dtype(key, self._info(key)), self._info(key).shape)
        if self.change.scaled:
            self.side = dict(self._scales(specs))
            specs |= {key: Spec(value.dtype, tuple(value.shape)) for key, value in self.side.items()}
        return specs

    def metadata(self) -> dict[str, str]:
        """Return the header's metadata with a hash that is true again."""
        kept = dict(self.main.header.metadata) | {"modelspec.hash_sha256": HASH_PLACEHOLDER}
        if self.change.scaled == "comfy":
            layers = [key.removesuffix(".comfy_quant") for key in self.side if key.endswith(".comfy_quant")]
            kept[QUANTIZATION] = quantization_note(dict.fromkeys(layers, DTYPES[self.change.dtype]))
        return kept

    def tensor(self, key: str, spec: Spec) -> Tensor:
        """Return one tensor as it is written."""
        if key in self.side:
            return self.side[key]
        values = self.origin[key].stretch(key, 0, self._info(key).numel).reshape(spec.shape)
        if place(key).fixed == "ids":
            return self._ids(key, values)
        if spec.dtype not in DTYPES.values() or values.dtype == spec.dtype:
            return values.to(spec.dtype)
        scale = next((float(self.side[name]) for name in self._scale_names(key) if name in self.side), 1.0)
        rounded = narrow(values, spec.dtype, scale)
        lost = (rounded.float() * scale - values.float()).norm() / values.float().norm().clamp(min=1e-30)
        self.result.errors[key] = float(lost)
        return rounded

    def _info(self, key: str) -> TensorInfo:
        return self.origin[key].header.tensors[key]

    def _dtype(self, key: str, info: TensorInfo) -> torch.dtype:
        if place(key).fixed == "ids":
            return torch.int64
        if why_fixed(key, info) or self.change.dtype == "same":
            return info.torch_dtype
        if self.change.dtype in WIDE_DTYPES:
            return WIDE_DTYPES[self.change.dtype]
        if may_narrow(key, info):
            return DTYPES[self.change.dtype]
        return info.torch_dtype if info.dtype == "BF16" else torch.float16

    def _scales(self, specs: Mapping[str, Spec]) -> Iterator[tuple[str, Tensor]]:
        for key, spec in specs.items():
            if spec.dtype in DTYPES.values() and may_narrow(key, self._info(key)):
                scale = best_scale(self.origin[key].tensor(key), spec.dtype)
                layer = key.removesuffix(".weight")
                yield from side_tensors(layer, scale, convention=self.change.scaled, dtype=spec.dtype).items()
        if self.change.scaled == "legacy":
            yield MARKER, torch.zeros(2, dtype=DTYPES[self.change.dtype])  # two elements: multiply in 16 bits

    def _scale_names(self, key: str) -> list[str]:
        layer = key.removesuffix(".weight")
        return list(side_tensors(layer, 1.0, convention=self.change.scaled or "legacy", dtype=torch.float8_e4m3fn))[:1]

    def _ids(self, key: str, values: Tensor) -> Tensor:
        sound = torch.arange(values.numel()).reshape(values.shape)
        if values.dtype != torch.int64 or not torch.equal(values, sound):
            self.result.repaired.append(key)
        return sound


def expand_parts(parts: Mapping[str, Path]) -> dict[str, Path]:
    """Return parts with "te" spelt out as every text encoder that its file has."""
    result = {name: path for name, path in parts.items() if name != "te"}
    if path := parts.get("te"):
        with open_source(path) as source:
            there = {place(key).component for key in source.header.tensors}
        result |= {name: path for name in TEXT_ENCODERS if name in there}
    return result
