"""An adapter file seen as a source of differences, under the keys and shapes of the checkpoint that it is added to."""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enogu.core.networks.header import CODES, Header, TensorInfo
from enogu.core.networks.stream import Reader
from enogu.merge.adapters.binding import Bound, Coverage, bind
from enogu.merge.adapters.change import Change, Full, Stored
from enogu.merge.adapters.decode import decode
from enogu.merge.adapters.magnitude import axis_squares, rescale
from enogu.merge.adapters.names import Shapes

BLOCK = 1 << 18  # elements made at once; blocks begin at multiples of it, so that no cut changes a bit
LOADED = 6  # modules whose factors are kept: those that the engine's threads are at
ColumnSquares = dict[Bound, Tensor]  # the squared size of each input channel of changed weights


@dataclass(frozen=True)
class AdapterHeader(Header):
    """What an adapter changes; the change of `bends` depends on the weight that it is added to (DoRA).

    It is True for those whose weight must be seen whole: where sizes are learnt per input channel.
    """

    bends: Mapping[str, bool]
    coverage: Coverage


def block_rows(shape: tuple[int, ...]) -> int:
    """Return how many rows of a tensor are made at once."""
    return max(BLOCK // max(math.prod(shape[1:]), 1), 1)


class Adapter:
    """A reader of differences; safe from several threads."""

    def __init__(self, file: Reader, shapes: Shapes, *, dtype: torch.dtype = torch.float32) -> None:
        """Bind a file to a checkpoint's shapes; refuse it if nothing fits."""
        self.path, self.shapes, self._file, self._dtype = file.path, shapes, file, dtype
        bound, coverage = bind(file, shapes)
        self._bound: dict[str, list[Bound]] = {}
        for module in bound:
            self._bound.setdefault(module.key, []).append(module)
        infos = {key: self._info(shapes[key]) for key in shapes if key in self._bound}
        bends = {
            key: any(module.magnitude and not module.sizes_rows for module in modules)
            for key, modules in self._bound.items()
            if any(module.magnitude for module in modules)
        }
        self.header = AdapterHeader(infos, file.header.metadata, 0, bends, coverage)
        self._loaded: OrderedDict[Bound, Change] = OrderedDict()
        self._lock = threading.Lock()

    def stretch(self, name: str, start: int, stop: int) -> Tensor:
        """Return elements [start, stop) of what is added to a tensor, flat."""
        shape = self.shapes[name]
        rows, columns = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
        step = block_rows(shape)
        first = start // columns // step * step
        last = min(-(-stop // columns), rows)
        result = torch.empty(last - first, columns, dtype=self._dtype)
        for row in range(first, last, step):
            end = min(row + step, rows)
            result[row - first : end - first] = self._block(name, row, end, columns=columns)[: last - row]
        return result.reshape(-1)[start - first * columns : stop - first * columns]

    def tensor(self, name: str) -> Tensor:
        """Return the whole of what is added to a tensor."""
        return self.stretch(name, 0, math.prod(self.shapes[name])).reshape(self.shapes[name])

    def at(self, name: str, weight: Tensor, start: int, *, squares: ColumnSquares) -> Tensor:
        """Return what is added to the elements from `start` on of a tensor that has these there, flat; whole blocks."""
        parts = []
        for first, rows, change in self._blocks(name, weight, start):
            for module, own in self._learnt(name, first, len(rows)):
                sizes = self._read(module.magnitude).reshape(-1)
                changed = change[own] + rows[own]
                if module.sizes_rows:
                    begin = first + own.start - module.site.row
                    rescale(changed, sizes[begin : begin + len(changed)], axis_squares(changed, 0), axis=0)
                else:
                    rescale(changed, sizes, squares[module], axis=1)
                change[own] = changed.sub_(rows[own])
            parts.append(change.reshape(-1))
        return torch.cat(parts)

    def measure(self, name: str, weight: Tensor, start: int, *, squares: ColumnSquares) -> None:
        """Add to the squares of every column of a changed weight; stretches come in order, whole blocks each."""
        for first, rows, change in self._blocks(name, weight, start):
            for module, own in self._learnt(name, first, len(rows)):
                if not module.sizes_rows:
                    found = axis_squares(change[own] + rows[own], 1)
                    squares[module] = squares[module] + found if module in squares else found

    def _blocks(self, name: str, weight: Tensor, start: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the first row, the weight and the change of each block of rows; a block's arithmetic sees no cut."""
        shape = self.shapes[name]
        width, rows = math.prod(shape[1:]), weight.reshape(-1, *shape[1:])
        for at in range(0, len(rows), block_rows(shape)):
            block, first = rows[at : at + block_rows(shape)], start // width + at
            change = self.stretch(name, first * width, (first + len(block)) * width)
            yield first, block, change.reshape(block.shape)

    def _learnt(self, name: str, first: int, count: int) -> Iterator[tuple[Bound, slice]]:
        """Yield the modules whose sizes are learnt, and which of `count` rows from `first` on are theirs."""
        for module in self._bound[name]:
            begin = max(module.site.row - first, 0)
            end = min(module.site.row + module.rows - first, count)
            if module.magnitude and begin < end:
                yield module, slice(begin, end)

    def _block(self, name: str, start: int, stop: int, *, columns: int) -> Tensor:
        result: Tensor | None = None
        for module in self._bound[name]:
            row = module.site.row
            own_start, own_stop = max(start - row, 0), min(stop - row, module.rows)
            if own_start >= own_stop:
                continue
            rows = self._change(module).rows(own_start, own_stop)
            if result is None and (own_start + row, own_stop + row) == (start, stop):
                result = rows
            else:
                result = torch.zeros(stop - start, columns, dtype=self._dtype) if result is None else result
                result[own_start + row - start : own_stop + row - start] += rows
        return torch.zeros(stop - start, columns, dtype=self._dtype) if result is None else result

    def _change(self, module: Bound) -> Change:
        with self._lock:
            if module in self._loaded:
                self._loaded.move_to_end(module)
                return self._loaded[module]
        change = self._load(module)
        with self._lock:
            self._loaded[module] = change
            if len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
        return change

    def _load(self, module: Bound) -> Change:
        if module.stored and not module.site.transposed:
            return Stored(
                lambda start, stop: self._file.stretch(module.stored, start, stop).to(self._dtype), module.size
            )
        change = decode(module.name, {part: self._read(key) for part, key in module.parts}, module.alpha)
        assert change is not None
        return Full(change.rows(0, change.shape[0]).T.contiguous()) if module.site.transposed else change

    def _read(self, key: str) -> Tensor:
        info = self._file.header.tensors[key]
        return self._file.stretch(key, 0, info.numel).to(self._dtype).reshape(info.shape)

    def _info(self, shape: tuple[int, ...]) -> TensorInfo:
        return TensorInfo(CODES[self._dtype], shape, 0, math.prod(shape) * self._dtype.itemsize)

    def __enter__(self) -> "Adapter":
        """Return the open adapter."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Close the file."""
        self._file.__exit__(*error)
