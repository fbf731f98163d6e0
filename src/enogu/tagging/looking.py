"""Pictures to probabilities: they are decoded and prepared ahead while the models work on the batch before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.tagger import Tagger, Vision
from enogu.core.records.picture import PictureError, read_picture
from enogu.tagging.scorer import Scorer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """A picture as each model wants it, or why there is none."""

    inputs: Mapping[str, Floats]
    reason: str = ""


@dataclass(frozen=True)
class Seen:
    """What the models say of the pictures of a batch that have no reason why not."""

    reasons: list[str]
    outputs: Mapping[str, Floats]


@dataclass(frozen=True)
class Eyes:
    """Every model that looks, by the name it has in the record, at pictures below a root; as work on batches."""

    root: Path
    taggers: Mapping[str, Tagger]
    scorers: Mapping[str, Scorer]

    def visions(self) -> dict[str, Vision]:
        """Return the models alone."""
        seers: dict[str, Tagger | Scorer] = {**self.taggers, **self.scorers}
        return {name: seer.vision for name, seer in seers.items()}

    @property
    def reads(self) -> tuple[Path, ...]:
        """The pictures and the models."""
        return (self.root, *(vision.model for vision in self.visions().values()))

    def prepare(self, image: str) -> Shown:
        """Decode a picture once and prepare it for every model; models that want the same share it."""
        try:
            picture = read_picture(self.root / image)
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

    def finish(self, batch: Sequence[Shown]) -> Seen:
        """Look at the pictures that could be read."""
        shown = [one.inputs for one in batch if not one.reason]
        outputs = {name: vision.outputs([one[name] for one in shown]) for name, vision in self.visions().items()}
        return Seen([one.reason for one in batch], outputs)
