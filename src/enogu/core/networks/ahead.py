"""A checkpoint that is gone through once: large tensors are read ahead, past the page cache."""

from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.direct import DirectFile, room, room_for
from enogu.core.networks.source import Source
from enogu.core.networks.stored import Stored

AHEAD_BYTES = 8 << 20  # never beyond the tensor: who knows which one is asked for next
LARGE = 1 << 20  # bytes of a tensor; smaller ones lie together, and the system reads ahead of them itself


class OnePass(Source):
    """A source for one thread that reads each tensor front to back, in pieces."""

    def __init__(self, path: Path) -> None:
        """Open the files once more, for large pieces."""
        self._ahead, self._memory = (path, 0, memoryview(b"")), room(room_for(AHEAD_BYTES))
        self._stack, self._direct = ExitStack(), dict[Path, DirectFile]()
        super().__init__(path)

    def _elements(self, part: Stored, start: int, stop: int) -> Tensor:
        dtype = part.info.torch_dtype
        begin, end = (part.info.start + place * dtype.itemsize for place in (start, stop))
        if part.info.nbytes < LARGE or end - begin > AHEAD_BYTES:
            return super()._elements(part, start, stop)
        file, first, data = self._ahead
        if file != part.file or begin < first or end > first + len(data):
            last = max(end, min(begin + AHEAD_BYTES, part.info.end))
            first, data = begin, self._opened(part.file).read(begin, last, self._memory)
            self._ahead = part.file, first, data
        return torch.frombuffer(data[begin - first : end - first], dtype=dtype).clone()

    def _opened(self, path: Path) -> DirectFile:
        if path not in self._direct:
            self._direct[path] = self._stack.enter_context(DirectFile(path))
        return self._direct[path]

    def __exit__(self, *problem: object) -> None:
        """Close the files."""
        self._stack.close()
        super().__exit__(*problem)
