"""Pictures to probabilities: threads decode and prepare ahead while the models work on the batch before."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.tagger import Tagger, Vision
from enogu.core.records.picture import PictureError, read_picture
from enogu.tagging.scorer import Scorer

AHEAD = 2  # batches decoded while one is looked at
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """A picture as each model wants it, or why there is none."""

    inputs: Mapping[str, Floats]
    reason: str = ""


@dataclass(frozen=True)
class Eyes:
    """Every model that looks, by the name it has in the record."""

    taggers: Mapping[str, Tagger]
    scorers: Mapping[str, Scorer]

    def visions(self) -> dict[str, Vision]:
        """Return the models alone."""
        seers: dict[str, Tagger | Scorer] = {**self.taggers, **self.scorers}
        return {name: seer.vision for name, seer in seers.items()}

    def show(self, path: Path) -> Shown:
        """Decode a picture once and prepare it for every model; models that want the same share it."""
        try:
            picture = read_picture(path)
        except PictureError as error:
            return Shown({}, error.reason)
        prepared: dict[Any, Floats] = {}
        inputs = {}
        for name, vision in self.visions().items():
            wish = (repr(vision.adapter), vision.side)
            if wish not in prepared:
                prepared[wish] = vision.prepare(picture)
            inputs[name] = prepared[wish]
        return Shown(inputs)

    def look(self, shown: Sequence[Shown]) -> dict[str, Floats]:
        """Return the outputs (N, outputs) of every model for pictures that all could be read."""
        return {name: vision.outputs([one.inputs[name] for one in shown]) for name, vision in self.visions().items()}


def batches(eyes: Eyes, paths: Sequence[Path], *, batch: int, threads: int) -> Iterator[list[Shown]]:
    """Yield pictures as the models want them, in order, decoded ahead."""
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        queue: deque[list[Future[Shown]]] = deque()
        for start in range(0, len(paths), batch):
            queue.append([pool.submit(eyes.show, path) for path in paths[start : start + batch]])
            if len(queue) > AHEAD:
                yield _results(queue.popleft())
        while queue:
            yield _results(queue.popleft())


def _results(futures: Iterable[Future[Shown]]) -> list[Shown]:
    return [future.result() for future in futures]
