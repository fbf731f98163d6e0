"""Booru taggers in the WD14 form: `model.onnx` beside `selected_tags.csv`.

The form is that of SmilingWolf's WD taggers (v2, v3): input (N, side, side, 3) float32, BGR, 0 to 255, padded
to a white square; output (N, tags) probabilities, in the order of the rows of `selected_tags.csv`
(`tag_id,name,category,count`). Thresholds differ from model to model: `thresholds.json` ({tag: threshold})
beside the model gives them where somebody calibrated it.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json

GENERAL, CHARACTER, RATING = 0, 4, 9  # the values of the column `category`
DEFAULT_THRESHOLD = 0.35  # the customary threshold of WD taggers that were not calibrated
BATCH = 32

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Tagger:
    """A loaded tagger; `names`, `categories` and `thresholds` follow the columns of its output."""

    session: onnxruntime.InferenceSession
    names: tuple[str, ...]
    categories: tuple[int, ...]
    thresholds: NDArray[np.float32]

    @classmethod
    def load(cls, path: Path, *, threads: int = 0) -> "Tagger":
        """Load a folder that holds `model.onnx` and `selected_tags.csv`, or such an .onnx file."""
        model = path / "model.onnx" if path.is_dir() else path
        labels = model.with_name("selected_tags.csv")
        for needed in (model, labels):
            if not needed.is_file():
                raise Refused(f"no tagger at {path}: {needed} is missing; give the folder that holds both files")
        tagger = cls(_session(model, threads), *_labels(labels), _thresholds(model, labels))
        tagger._check(model)
        return tagger

    @property
    def side(self) -> int:
        """The width and height of the model's input, in pixels."""
        return int(self.session.get_inputs()[0].shape[1])

    def probabilities(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Return the probability of every tag in every (H, W, 3) RGB picture, as (pictures, tags)."""
        entry = self.session.get_inputs()[0]
        batch = entry.shape[0] if isinstance(entry.shape[0], int) else BATCH
        found = [
            self.session.run(None, {entry.name: np.stack([_prepare(p, self.side) for p in pictures[i : i + batch]])})[0]
            for i in range(0, len(pictures), batch)
        ]
        return np.concatenate([np.zeros((0, len(self.names)), np.float32), *found]).astype(np.float32)

    def _check(self, model: Path) -> None:
        shape, tags = self.session.get_inputs()[0].shape, self.session.get_outputs()[0].shape[-1]
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise Refused(f"{model} takes {shape}, not (N, side, side, 3): not a tagger of the WD form")
        if tags != len(self.names):
            raise Refused(f"{model} gives {tags} tags but selected_tags.csv names {len(self.names)}: not a pair")


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _labels(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"name", "category"} <= rows[0].keys():
        raise Refused(f"{path} lacks the columns name and category; expected tag_id,name,category,count")
    return tuple(row["name"] for row in rows), tuple(int(row["category"]) for row in rows)


def _thresholds(model: Path, labels: Path) -> NDArray[np.float32]:
    beside = model.with_name("thresholds.json")
    known: dict[str, Any] = read_json(beside) if beside.is_file() else {}
    return np.array([known.get(name, DEFAULT_THRESHOLD) for name in _labels(labels)[0]], np.float32)


def _prepare(picture: Picture, side: int) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    edge = max(height, width)
    square = np.full((edge, edge, 3), 255, np.uint8)
    top, left = (edge - height) // 2, (edge - width) // 2
    square[top : top + height, left : left + width] = picture
    resized = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float32)[:, :, ::-1]
