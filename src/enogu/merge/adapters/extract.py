"""Extraction: a difference of models in, a small adapter file out; tensor by tensor, whatever the threads do."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.header import Header
from enogu.core.networks.keys import place, why_fixed
from enogu.core.networks.layouts import Layout, find_layout, layouts
from enogu.core.networks.stream import Written, open_writer
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.hashes import sha256_file
from enogu.core.records.progress import Progress, silent
from enogu.core.records.seed import derive
from enogu.merge.adapters.adapter import Adapter, AdapterHeader
from enogu.merge.adapters.config import ExtractConfig
from enogu.merge.adapters.description import describe
from enogu.merge.adapters.factors import Factors, Limits, factor, squared
from enogu.merge.adapters.names import Names, Site, names
from enogu.merge.adapters.spool import Spool
from enogu.merge.adapters.tally import Tally
from enogu.merge.adapters.targets import Target, target
from enogu.merge.adapters.terms import Terms
from enogu.merge.algebra import Combination
from enogu.merge.blocks import block_names
from enogu.merge.computation import one_thread_each
from enogu.merge.evaluate import Cut, Evaluation, Passes, cuts, unit
from enogu.merge.inputs import Input, open_inputs
from enogu.merge.meaning import Meanings
from enogu.merge.parts import named_models
from enogu.merge.syntax import parse

PIECE = 1 << 16  # elements computed at once
TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Extracted:
    """What an extraction made: the file's hashes, what it kept, the ranks by module."""

    tally: Tally = field(default_factory=Tally)
    ranks: dict[str, int] = field(default_factory=dict)
    tensors: int = 0
    written: Written | None = None


def extract(
    config: ExtractConfig, files: Mapping[str, Path], out: Path, *, threads: int = 2, progress: Progress = silent
) -> Extracted:
    """Write the difference that a formula means as an adapter."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(one_thread_each())
        readers = stack.enter_context(open_inputs(files))
        source = _Source.bound(config, readers)
        spool = stack.enter_context(Spool(out.parent))
        hasher = stack.enter_context(ThreadPoolExecutor(1))
        try:
            hashes = {name: hasher.submit(sha256_file, files[name]) for name in source.used}
            result = _gather(source, spool, threads=threads, progress=progress)
            told = {name: each.result() for name, each in hashes.items()}
        except BaseException:
            hasher.shutdown(cancel_futures=True)
            raise
        headers = {name: readers[name].header for name in source.used}
        metadata = describe(config, headers, layout=source.layout, title=out.stem, hashes=told)
        with open_writer(out, spool.specs, metadata) as writer:
            for name in writer.infos:
                writer.write(name, spool.read(name))
        result.written = writer.written
    return result


@dataclass(frozen=True)
class _Found:
    """What one tensor of the model yields."""

    key: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[tuple[float, float], ...] = ()  # squared size and what is lost, per module
    left: tuple[tuple[float, str], ...] = ()


def _gather(source: "_Source", spool: Spool, *, threads: int, progress: Progress) -> Extracted:
    result = Extracted()
    total, done = sum(math.prod(source.shapes[key]) for key in source.keys), 0
    for found in _in_order(source, threads):
        _settle(found, result, spool)
        done += math.prod(source.shapes[found.key])
        progress(done, total, "elements")
    if not spool.specs:
        raise Refused("the difference is zero in everything that an adapter could keep; there is nothing to extract")
    return result


def _in_order(source: "_Source", threads: int) -> Iterator[_Found]:
    waiting: deque[Future[_Found]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for key in source.keys:
                waiting.append(pool.submit(source.extract, key))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _settle(found: _Found, result: Extracted, spool: Spool) -> None:
    for name, tensor in found.tensors.items():
        spool.add(name, tensor)
    result.ranks |= found.ranks
    result.tensors += len(found.tensors)
    for size, lost in found.kept:
        result.tally.keep(found.key, size, lost)
    for size, why in found.left:
        result.tally.leave(found.key, size, why)


@dataclass(frozen=True)
class _Source:
    """A difference bound to its files: for each tensor, what it is and what is kept of it."""

    config: ExtractConfig
    readers: Mapping[str, Input]
    shapes: Mapping[str, tuple[int, ...]]
    layout: Layout | None
    places: Names
    combinations: Mapping[str, Combination]
    weights: Mapping[str, list[Site]]
    biases: Mapping[str, list[Site]]

    @staticmethod
    def bound(config: ExtractConfig, readers: Mapping[str, Input]) -> "_Source":
        """Bind a formula, or refuse before any work."""
        headers = {name: reader.header for name, reader in readers.items()}
        terms = Terms({name: header for name, header in headers.items() if isinstance(header, AdapterHeader)})
        shapes = _shapes(readers)
        formula = parse(config.formula)
        used = named_models(formula, tuple(headers))
        meanings = Meanings(formula, tuple(headers), block_names(shapes), terms.names, delta=True)
        found = {key: terms.at(meanings.at(key), key) for key in shapes}
        whole = {name: header for name, header in headers.items() if name in used and name not in terms.names}
        combinations = {key: each for key, each in found.items() if each.terms and _blendable(key, each, whole)}
        places = names(shapes)
        weights: dict[str, list[Site]] = {}
        biases: dict[str, list[Site]] = {}
        for site in places.spelt:
            weights.setdefault(site.weight, []).append(site)
            biases.setdefault(site.bias, []).append(site)
        layout = next((find_layout(header) for header in whole.values()), None) or _layout(readers)
        return _Source(config, readers, shapes, layout, places, combinations, weights, biases)

    @property
    def used(self) -> tuple[str, ...]:
        """Return the models that the difference is made of."""
        found = {name for each in self.combinations.values() for name in each.models()}
        return tuple(name for name in self.readers if name in found)

    @property
    def keys(self) -> list[str]:
        """Return the tensors that differ, in the order of a file."""
        order = {key: info.start for reader in self.readers.values() for key, info in reader.header.tensors.items()}
        return sorted(self.combinations, key=lambda key: (order[key], key))

    def extract(self, key: str) -> _Found:
        """Return what is kept of one tensor."""
        if key in self.weights:
            sites = self.weights[key]
            fate = target(sites[0], self.config)
            if fate.form == "factors":
                return self._factored(key, sites, fate)
            if fate.form == "whole":
                return self._whole(key, sites, part="w_norm")
            return self._left(key, fate.why)
        if key in self.biases and place(key).component != "vae" and self.config.rest:
            norm = len(self.biases[key][0].shape) < 2
            return self._whole(key, self.biases[key], part="b_norm" if norm else "diff_b")
        known = key in self.biases and place(key).component != "vae"
        return self._left(key, "norms and biases (rest)" if known else "what adapters do not change")

    def _factored(self, key: str, sites: list[Site], fate: Target) -> _Found:
        values = self._value(key).reshape(self.shapes[key])
        tensors: dict[str, Tensor] = {}
        ranks, kept = {}, []
        for site in sites:
            own = values if len(sites) == 1 else values[site.row : site.row + site.shape[0]]
            matrix = own.T.contiguous() if site.transposed else own.reshape(len(own), -1)
            size = self._size(key, matrix)
            if not size:
                continue
            name = self._name(site)
            limits = Limits(fate.rank, self.config.energy, self.config.threshold)
            seed = derive(self.config.seed, "extract", name)
            factors = factor(matrix, limits, dtype=TORCH[self.config.dtype], seed=seed)
            tensors |= _parts(name, factors, site.shape)
            ranks[name] = factors.rank
            kept.append((size, factors.lost))
        return _Found(key, tensors, ranks, tuple(kept))

    def _whole(self, key: str, sites: list[Site], *, part: str) -> _Found:
        values = self._value(key)
        size = self._size(key, values)
        if not size:
            return _Found(key)
        rounded = values.to(TORCH[self.config.dtype])
        each = len(values) // len(sites)
        tensors = {f"{self._name(site)}.{part}": rounded[i * each : (i + 1) * each] for i, site in enumerate(sites)}
        return _Found(key, tensors, {}, ((size, squared(values - rounded.float())),))

    def _left(self, key: str, why: str) -> _Found:
        size = sum(self._size(key, piece) for piece in self._pieces(key))
        return _Found(key, left=((size, why),))

    def _name(self, site: Site) -> str:
        return self.places.kohya(site, ldm=any(".label_emb." in key for key in self.shapes))

    def _size(self, key: str, values: Tensor) -> float:
        size = squared(values)
        if not math.isfinite(size):
            raise Failed(f"{key}: the difference holds NaN or infinities; repair the models first")
        return size

    def _value(self, key: str) -> Tensor:
        result, start = torch.empty(math.prod(self.shapes[key])), 0
        for piece in self._pieces(key):
            result[start : start + len(piece)] = piece
            start += len(piece)
        return result

    def _pieces(self, key: str) -> Iterator[Tensor]:
        shape, combination = self.shapes[key], self.combinations[key]
        together, count = unit(combination, shape), math.prod(shape)
        step = max(PIECE // together, 1) * together

        def cut() -> Iterator[Cut]:
            for start, stop in cuts(0, count, step):
                yield Cut(start, stop, self.readers)

        evaluation = Evaluation(key, shape, torch.float32, self.config.seed)
        evaluation.measure(combination, Passes(cut, cut, count, together))
        yield from (evaluation.value(combination, each) for each in cut())


def _parts(name: str, factors: Factors, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Return the tensors of a LoRA module as kohya's scripts name and shape them."""
    kernel = shape[2:]
    up = factors.up.reshape(*factors.up.shape, *[1] * len(kernel))
    down = factors.down.reshape(factors.rank, shape[1], *kernel)
    alpha = torch.tensor(float(factors.rank), dtype=factors.up.dtype)
    return {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": alpha}


def _shapes(readers: Mapping[str, Input]) -> Mapping[str, tuple[int, ...]]:
    whole = [reader.header for reader in readers.values() if not isinstance(reader, Adapter)]
    if not whole:
        return next(reader.shapes for reader in readers.values() if isinstance(reader, Adapter))
    return {key: info.shape for header in reversed(whole) for key, info in header.tensors.items()}


def _layout(readers: Mapping[str, Input]) -> Layout | None:
    """Return the layout whose shapes adapters were bound to for want of a model."""
    bound = [reader.shapes for reader in readers.values() if isinstance(reader, Adapter)]
    return next((each for each in layouts().values() if bound and each.shapes == bound[0]), None)


def _blendable(key: str, combination: Combination, headers: Mapping[str, Header]) -> bool:
    """Return whether a tensor has a difference; refuse models whose shapes do not agree."""
    holders = {n: header.tensors[key] for n, header in headers.items() if key in header.tensors}
    if any(why_fixed(key, info) for info in holders.values()):
        return False
    if set(combination.models()) & headers.keys() - holders.keys():
        return False
    if len({info.shape for info in holders.values()}) > 1:
        listed = ", ".join(f"{list(info.shape)} in {name}" for name, info in holders.items())
        raise Refused(f"{key} is {listed}; the models are not of one family")
    return True
