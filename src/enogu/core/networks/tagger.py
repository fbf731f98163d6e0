"""Booru taggers and other models over pictures, as ONNX: `model.onnx`, its labels, and what it wants.

Without an `adapter.toml` beside it, a model has the form of SmilingWolf's WD taggers (v2, v3): input
(N, side, side, 3) float32, BGR, 0 to 255, padded to a white square; output (N, tags) probabilities, in the order
of the rows of `selected_tags.csv` (`tag_id,name,category,count`). Thresholds differ from model to model:
`thresholds.json` ({tag: threshold}) beside the model gives them where somebody calibrated it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from enogu.core.networks.adapter import Adapter, adapter, by_hand
from enogu.core.records.errors import Failed, Refused, unknown

DEFAULT_THRESHOLD = 0.35  # the customary threshold of WD taggers that were not calibrated
BATCH = 32
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Vision:
    """A loaded ONNX model over pictures, with its adapter; pickled, it is how to load it."""

    session: onnxruntime.InferenceSession
    adapter: Adapter
    model: Path
    threads: int

    @classmethod
    def open(cls, model: Path, *, threads: int = 0) -> "Vision":
        """Load an .onnx file with the `adapter.toml` beside it, if there is one."""
        vision = cls(_session(model, threads), adapter(model.with_name("adapter.toml")), model.absolute(), threads)
        shape = vision.session.get_inputs()[0].shape
        rows, columns, channels = (1, 2, 3) if vision.adapter.layout == "NHWC" else (2, 3, 1)
        if len(shape) != 4 or shape[rows] != shape[columns] or shape[channels] != 3:
            wanted = "(N, side, side, 3)" if vision.adapter.layout == "NHWC" else "(N, 3, side, side)"
            raise Refused(f"{model} takes {shape}, not {wanted}: describe it in adapter.toml beside it")
        if not vision.side:
            raise Refused(f"{model} does not say how large its input is: give `side` in adapter.toml beside it")
        return vision

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the session."""
        return partial(Vision.open, self.model, threads=self.threads), ()

    @property
    def side(self) -> int:
        """The width and height of the model's input, in pixels."""
        own = self.session.get_inputs()[0].shape[1 if self.adapter.layout == "NHWC" else 2]
        return own if isinstance(own, int) else self.adapter.side

    @property
    def batch(self) -> int:
        """How many pictures the model takes at once."""
        own = self.session.get_inputs()[0].shape[0]
        return own if isinstance(own, int) else BATCH

    def prepare(self, picture: Picture) -> NDArray[np.float32]:
        """Return the input for one (H, W, 3) RGB picture."""
        return self.adapter.prepare(picture, self.side)

    def outputs(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return (N, outputs) for prepared pictures."""
        entry, name = self.session.get_inputs()[0].name, self.adapter.output or self.session.get_outputs()[0].name
        found = []
        for start in range(0, len(prepared), self.batch):
            rows = np.stack(prepared[start : start + self.batch])
            missing = self.batch - len(rows) if isinstance(self.session.get_inputs()[0].shape[0], int) else 0
            padded = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
            try:
                found.append(self.session.run([name], {entry: padded})[0][: len(rows)])
            except Exception as error:  # ONNX Runtime's own have no common base
                raise Failed(f"{self.model} cannot look at {padded.shape}: {error}") from error
        return self.adapter.finish(np.concatenate(found)) if found else np.zeros((0, self.width), np.float32)

    @property
    def width(self) -> int:
        """How many numbers the model says of a picture."""
        names = [one.name for one in self.session.get_outputs()]
        if self.adapter.output and self.adapter.output not in names:
            raise Refused(f"output = {self.adapter.output!r} in adapter.toml: the model has {', '.join(names)}")
        own = self.session.get_outputs()[names.index(self.adapter.output or names[0])].shape[-1:]
        if own and isinstance(own[0], int):
            return own[0]
        return int(self.outputs([self.prepare(np.zeros((self.side, self.side, 3), np.uint8))]).shape[-1])


@dataclass(frozen=True)
class Tagger:
    """A loaded tagger; `names`, `kinds` and `thresholds` follow the columns of its output."""

    vision: Vision
    names: tuple[str, ...]
    kinds: tuple[str, ...]  # "general", "character", "rating", ...
    thresholds: NDArray[np.float32]

    @classmethod
    def load(cls, path: Path, *, threads: int = 0) -> "Tagger":
        """Load a folder that holds `model.onnx` and its labels, or such an .onnx file."""
        model = path / "model.onnx" if path.is_dir() else path
        labels = model.with_name(adapter(model.with_name("adapter.toml")).labels)
        for needed in (model, labels):
            if not needed.is_file():
                raise Refused(f"no tagger at {path}: {needed} is missing; give the folder that holds both files")
        vision = Vision.open(model, threads=threads)
        rows = vision.adapter.named(labels)
        if vision.width != len(rows):
            raise Refused(f"{model} gives {vision.width} tags but {labels.name} names {len(rows)}: not a pair")
        names, kinds = tuple(name for name, _ in rows), tuple(kind for _, kind in rows)
        return cls(vision, names, kinds, _thresholds(model, rows, vision.adapter))

    @property
    def side(self) -> int:
        """The width and height of the model's input, in pixels."""
        return self.vision.side

    def probabilities(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Return the probability of every tag in every (H, W, 3) RGB picture, as (pictures, tags)."""
        return self.vision.outputs([self.vision.prepare(picture) for picture in pictures])


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1  # left to itself it would pin its threads to cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # who waits leaves the core to decoding
    options.enable_mem_pattern = False  # one block for all activations is gigabytes to map and unmap at every batch
    options.log_severity_level = 3  # errors only
    there = onnxruntime.get_available_providers()
    providers = [one for one in PROVIDERS if one in there]
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own have no common base
        raise Refused(f"{model} cannot be loaded; is it whole? ONNX Runtime says: {error}") from error


def _thresholds(model: Path, rows: Sequence[tuple[str, str]], adapter: Adapter) -> NDArray[np.float32]:
    beside = model.with_name("thresholds.json")
    known: Any = by_hand(beside) if beside.is_file() else {}
    if not isinstance(known, dict):
        raise Refused(f"{beside} is no table {{tag: threshold}}")
    names = {name for name, _ in rows}
    for name, value in known.items():
        if name not in names:
            raise unknown(f"tag in {beside}", name, names)
        if not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise Refused(f"{beside}: the threshold of {name} is {value!r}; give a probability above 0, 1 at most")
    return np.array(
        [known.get(name, adapter.thresholds.get(kind, DEFAULT_THRESHOLD)) for name, kind in rows], np.float32
    )
