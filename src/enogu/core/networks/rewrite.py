"""What a conversion makes of every tensor: its origin, its new dtype, its repair."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.finite import is_finite
from enogu.core.networks.fp8 import (
    CONVENTIONS,
    DTYPES,
    MARKER,
    QUANTIZATION,
    best_scale,
    may_narrow,
    may_scale,
    narrow,
    quantization_note,
    side_tensors,
)
from enogu.core.networks.header import Spec, TensorInfo
from enogu.core.networks.keys import NAMES, place, why_fixed
from enogu.core.networks.layouts import Layout, find_layout, within
from enogu.core.networks.prediction import SPEC, SPEC_KEY, SPEC_WORDS, Prediction, markers, measured
from enogu.core.networks.source import Source
from enogu.core.networks.stream import HASH_PLACEHOLDER, StreamWriter, as_bytes
from enogu.core.records.errors import Failed, Refused, unknown
from enogu.core.records.progress import Progress, silent

WIDE_DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TARGETS = ("same", *WIDE_DTYPES, *DTYPES)
LAYOUTS = ("single", "diffusers")
PREDICTIONS = ("", "eps", "v")
PIECE = 1 << 17  # elements converted at once: few enough to stay in the caches with all that is made of them
OTHER_SHAPE = 0.1  # with more than this share of its tensors missing or misshapen, a part is of another family


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to change; the defaults change nothing but damage."""

    dtype: str = "same"
    scaled: str = ""  # with an 8-bit dtype: "legacy" or "comfy" scales per weight, or none
    parts: Mapping[str, Path] = field(default_factory=dict)  # component -> the file that it is taken from
    prune: bool = False  # drop moving averages and what belongs to no component
    ema: bool = False  # make the UNet's moving averages its weights
    layout: str = "single"
    predicts: str = ""  # mark as predicting "eps" or "v", or as it is
    zero_terminal_snr: bool = False  # mark so
    nonfinite: str = "refuse"  # or "keep"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for what, value, known in (
            ("dtype", self.dtype, TARGETS),
            ("fp8 convention", self.scaled or CONVENTIONS[0], CONVENTIONS),
            ("layout", self.layout, LAYOUTS),
            ("prediction", self.predicts, PREDICTIONS),
            ("policy for NaN", self.nonfinite, ("refuse", "keep")),
        ):
            if value not in known:
                raise unknown(what, value, known)
        if self.scaled and self.dtype not in DTYPES:
            raise Refused(f"scales belong to 8-bit dtypes ({', '.join(DTYPES)}), not to {self.dtype}")
        if self.scaled and self.layout == "diffusers":
            raise Refused("diffusers reads no scaled 8-bit weights; write a single file, or no scales")


class Rewrite:
    """Every tensor of the result, under its key in the LDM layout."""

    def __init__(
        self, change: Conversion, main: Source, parts: Mapping[str, Source], *, progress: Progress = silent
    ) -> None:
        """Decide about every tensor from the headers; scales are measured here, because they are tensors too."""
        self.change, self.main, self.progress = change, main, progress
        self.layout = find_layout(main.header)
        self.repaired: list[str] = []
        self.dropped: list[str] = []
        self._lost: dict[str, tuple[float, float]] = {}  # sums of squares: of what rounding lost, of the weights
        self.origin = {key: (main, key) for key in main.header.tensors if place(key).component not in parts}
        for component, source in parts.items():
            self.origin |= _part(component, source, main, chosen=self.layout)
        self.predicts = self._predicts()
        if change.ema:
            self._take_averages()
        as_it_is = change.dtype == "same" and change.layout == "single"
        self.scaled = {key for key, (source, name) in self.origin.items() if as_it_is and source.slots[name].scale}
        self.specs = dict(self._specs())
        self.side = dict(self._scales() if change.scaled else self._kept_scales())
        for key, shape in markers(self.predicts).items() if self._marked else ():
            if key not in self.specs:
                self.side[key] = torch.zeros(shape)
                self.repaired.append(key)
        self.specs |= {key: Spec(value.dtype, tuple(value.shape)) for key, value in self.side.items()}

    @property
    def metadata(self) -> dict[str, str]:
        """Return the header's metadata with a hash that is true again."""
        kept = {"format": "pt", **self.main.header.metadata, "modelspec.hash_sha256": HASH_PLACEHOLDER}
        if self.layout:
            architecture, side = self.layout.spec(self.predicts.kind)
            kept.setdefault("modelspec.architecture", architecture)
            kept.setdefault("modelspec.resolution", f"{side}x{side}")
            kept.setdefault("modelspec.title", self.main.path.stem)
            kept = {**SPEC, **kept}
        if self.change.predicts:
            kept[SPEC_KEY] = SPEC_WORDS[self.change.predicts]
        if self.scaled and self.main.quantization:
            kept[QUANTIZATION] = self.main.quantization
        if self.change.scaled == "comfy":
            layers = [key.removesuffix(".comfy_quant") for key in self.side if key.endswith(".comfy_quant")]
            kept[QUANTIZATION] = quantization_note(dict.fromkeys(layers, DTYPES[self.change.dtype]))
        return kept

    def pieces(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Yield elements of a tensor as they are written, flat, a piece at a time."""
        spec = self.specs[key]
        end = math.prod(spec.shape) if stop is None else stop
        if key in self.side or key in self.scaled or place(key).fixed == "ids":
            yield self._small(key).reshape(-1)[start:end]
            return
        source, name = self.origin[key]
        for i, j in _cuts(end - start):
            values = source.stretch(name, start + i, start + j)
            narrow_it = spec.dtype in DTYPES.values() and values.dtype != spec.dtype
            yield self._narrowed(key, values, spec.dtype) if narrow_it else self._finite(key, values, spec.dtype)

    @property
    def errors(self) -> dict[str, float]:
        """Return how much of each 8-bit weight was lost, relative to its size."""
        return {key: math.sqrt(lost / max(size, 1e-60)) for key, (lost, size) in self._lost.items()}

    def _small(self, key: str) -> Tensor:
        if key in self.side:
            return self.side[key]
        source, name = self.origin[key]
        if key in self.scaled:
            return source.whole(source.slots[name].parts[0])
        return self._ids(key, source.tensor(name))

    def _narrowed(self, key: str, values: Tensor, dtype: torch.dtype) -> Tensor:
        scale = next((float(self.side[name]) for name in self._scale_names(key) if name in self.side), 1.0)
        wide = self._finite(key, values, torch.float32)
        rounded = narrow(wide, dtype, scale)
        apart, (lost, size) = rounded.float().mul_(scale).sub_(wide), self._lost.get(key, (0.0, 0.0))
        self._lost[key] = lost + float(apart @ apart), size + float(wide @ wide)
        return rounded

    def _finite(self, key: str, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Return values in another dtype, none of them NaN or infinite unless that is allowed."""
        result = values.to(dtype)
        may_end = place(key).fixed == "schedule"  # at infinity
        if self.change.nonfinite == "keep" or may_end or not result.is_floating_point() or is_finite(result):
            return result
        if not is_finite(values):
            raise Failed(f"{key} holds NaN or infinities; mend it, or let it through with --keep-nonfinite")
        kind = str(dtype).removeprefix("torch.")
        raise Failed(f"{key} does not fit into {kind}: it reaches {float(values.abs().max()):g}; choose bf16 or fp32")

    def _specs(self) -> Iterator[tuple[str, Spec]]:
        for key, (source, name) in self.origin.items():
            where, info = place(key), source.header.tensors[name]
            if self.change.prune and (where.fixed == "ema" or (where.component == "other" and not where.fixed)):
                self.dropped.append(key)
            else:
                part = source.slots[name].parts[0].info
                dtype = part.torch_dtype if key in self.scaled else self._dtype(key, info)
                if source.slots[name].scale and self.change.dtype == "same" and key not in self.scaled:
                    dtype = torch.float16  # wide enough for 8 bits times a scale
                yield key, Spec(dtype, info.shape)

    def _dtype(self, key: str, info: TensorInfo) -> torch.dtype:
        if place(key).fixed == "ids":
            return torch.int64
        if why_fixed(key, info) or self.change.dtype == "same":
            return info.torch_dtype
        if self.change.dtype in WIDE_DTYPES:
            return WIDE_DTYPES[self.change.dtype]
        if (may_scale if self.change.scaled else may_narrow)(key, info):
            return DTYPES[self.change.dtype]
        return info.torch_dtype if info.dtype == "BF16" else torch.float16

    def _scales(self) -> Iterator[tuple[str, Tensor]]:
        headers = {key: source.header.tensors[name] for key, (source, name) in self.origin.items()}
        narrowed = {key: spec for key, spec in self.specs.items() if may_scale(key, headers[key])}
        for done, (key, spec) in enumerate(narrowed.items()):
            source, name = self.origin[key]
            values = (source.stretch(name, i, j) for i, j in _cuts(math.prod(spec.shape)))
            scale = best_scale(values, spec.dtype)
            layer = key.removesuffix(".weight")
            yield from side_tensors(layer, scale, convention=self.change.scaled, dtype=spec.dtype).items()
            self.progress(done + 1, len(narrowed), "scales")
        if self.change.scaled == "legacy":
            yield MARKER, torch.zeros(2, dtype=DTYPES[self.change.dtype])  # two elements: multiply in 16 bits

    def _kept_scales(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what accompanies the weights that stay in 8 bits."""
        for key in self.scaled & self.specs.keys():
            source, name = self.origin[key]
            yield from ((key.removesuffix(".weight") + end, value) for end, value in source.beside(name).items())
        if self.scaled:
            yield from self.main.markers().items()

    def _scale_names(self, key: str) -> list[str]:
        layer = key.removesuffix(".weight")
        return list(side_tensors(layer, 1.0, convention=self.change.scaled or "legacy", dtype=torch.float8_e4m3fn))[:1]

    def _ids(self, key: str, values: Tensor) -> Tensor:
        sound = torch.arange(values.numel()).reshape(values.shape)
        if values.dtype != torch.int64 or not torch.equal(values, sound):
            self.repaired.append(key)
        return sound

    def _take_averages(self) -> None:
        names = {key: "model_ema." + key.removeprefix("model.").replace(".", "") for key in self.origin}
        own = [key for key in names if place(key).component == "unet"]
        if lost := [key for key in own if names[key] not in self.main.header.tensors]:
            raise Refused(
                f"{self.main.path}: {len(lost)} tensors of the UNet have no moving average, such as {lost[0]}"
            )
        for key in own:
            self.origin[key] = (self.main, names[key])

    @property
    def _marked(self) -> bool:
        """Return whether UIs look for marker tensors in such a file: they do in SDXL's."""
        return self.layout is not None and "xl" in self.layout.architecture and self.change.layout == "single"

    def _predicts(self) -> Prediction:
        told = measured(self.main, self.layout.name if self.layout else "")
        zero = told.zero_terminal_snr or self.change.zero_terminal_snr
        if self.change.predicts == "eps" and (found := [key for key in ("v_pred",) if key in self.origin]):
            for key in found:
                del self.origin[key]
                self.dropped.append(key)
        return Prediction(self.change.predicts or told.kind, zero, told.source)


def _cuts(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + PIECE, count)) for start in range(0, count, PIECE))


def pour(writer: StreamWriter, name: str, pieces: Iterable[Tensor]) -> None:
    """Write a tensor that comes in flat pieces."""
    offset = 0
    for piece in pieces:
        data = as_bytes(piece.contiguous())
        writer.write(name, data, offset=offset)
        offset += len(data)


def _part(component: str, source: Source, main: Source, *, chosen: Layout | None) -> dict[str, tuple[Source, str]]:
    """Return the tensors of another file's component under the keys that this file's family has for it."""
    found = [key for key in source.header.tensors if place(key).component == component]
    if not found:
        raise Refused(f"{source.path} has no {component} to take")
    prefix = chosen.prefixes.get(component) if chosen else None
    names = {(prefix + within(key) if prefix is not None else key): key for key in found}
    wanted = chosen.components.get(component, {}) if chosen else {}
    own = {key: info.shape for key, info in main.header.tensors.items() if key in wanted} or dict(wanted)
    bent = [key for key in own if key not in names or source.header.tensors[names[key]].shape != own[key]]
    if len(bent) > OTHER_SHAPE * len(own):
        raise Refused(
            f"{source.path}: its {NAMES[component]} does not fit {main.path}: {len(bent)} of {len(own)} tensors are "
            f"missing or misshapen, such as {bent[0]}"
        )
    return {key: (source, name) for key, name in names.items()}
