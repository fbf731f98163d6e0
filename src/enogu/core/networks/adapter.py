"""How a tagger or a scorer wants its pictures and names its outputs: `adapter.toml` beside the model.

Models disagree on everything that a picture can be done wrong by, so nothing is guessed: the layout of the input,
the order of colours, the scale, the shape, what is still to be done to the output, and what its numbers mean.
"""

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.files import read_json
from enogu.core.records.posts import CATEGORIES

CHOICES = {
    "layout": ("NHWC", "NCHW"),
    "colours": ("BGR", "RGB"),
    "fit": ("pad", "crop", "stretch"),
    "resize": ("bicubic", "bilinear", "lanczos", "area"),
    "activation": ("none", "sigmoid", "softmax"),
}
KINDS = (*CATEGORIES, "rating", "quality", "year")  # what a tag can be of; only categories of posts become tags
SMOOTH = {  # each of them antialiased when it shrinks
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What lies between a picture and a model's input, and between its output and names."""

    layout: str = "NHWC"
    colours: str = "BGR"
    scale: float = 1.0  # a value of 0 to 255 is multiplied by it,
    mean: tuple[float, ...] = (0.0,)  # then this is taken away, one for all channels or one each, in the order of RGB,
    std: tuple[float, ...] = (1.0,)  # then it is divided by this
    fit: str = "pad"  # to a centred square; or "crop" to one, or "stretch"
    background: int = 255  # of the padding
    resize: str = "bicubic"  # or "area": averages when shrinking, Lanczos when enlarging, as sd-scripts does
    side: int = 0  # of the input in pixels; 0 asks the model
    activation: str = "none"  # still to be applied to the output
    output: str = ""  # its name; the first if empty
    labels: str = "selected_tags.csv"  # .csv with columns name and category, or .json
    kinds: Mapping[str, str] = field(default_factory=dict)  # category as the labels write it: kind of tag
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by kind

    def __post_init__(self) -> None:
        """Refuse what no model could mean."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(f"{name} of an adapter", getattr(self, name), allowed)
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise Refused(
                    f"{name} = {list(getattr(self, name))} of an adapter: give one number, or one per channel"
                )
        if not all(self.std):
            raise Refused(f"std = {list(self.std)} of an adapter: a zero cannot be divided by")
        if not 0 <= self.background <= 255:
            raise Refused(f"background = {self.background} of an adapter: give 0 to 255")
        for category, kind in self.kinds.items():
            if kind not in KINDS:
                raise unknown(f"kind of the category {category!r} of an adapter", str(kind), KINDS)
        for kind, value in self.thresholds.items():
            if not isinstance(value, (int, float)) or not 0 < value < 1:
                raise Refused(f"threshold of {kind} = {value!r} of an adapter: a probability between 0 and 1")

    def prepare(self, picture: Picture, side: int) -> NDArray[np.float32]:
        """Return the model's input for an (H, W, 3) RGB picture."""
        small = _resized(self._square(picture), side, self.resize)
        ordered = small[:, :, ::-1] if self.colours == "BGR" else small
        values = np.asarray(cv2.LUT(np.ascontiguousarray(ordered), self._values), np.float32)
        return np.ascontiguousarray(values if self.layout == "NHWC" else values.transpose(2, 0, 1))

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        """What each of the 256 values becomes, as (1, 256, channels): looking up takes half the time of computing."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        rgb = (np.arange(256, dtype=np.float32)[:, None] * np.float32(self.scale) - mean) / std
        table = np.broadcast_to(rgb, (256, 3))[None]
        return np.ascontiguousarray(table[:, :, ::-1] if self.colours == "BGR" else table)

    def _square(self, picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        if self.fit == "stretch" or height == width:
            return picture
        if self.fit == "crop":
            edge = min(height, width)
            top, left = (height - edge) // 2, (width - edge) // 2
            return picture[top : top + edge, left : left + edge]
        edge = max(height, width)
        square = np.full((edge, edge, 3), self.background, np.uint8)
        top, left = (edge - height) // 2, (edge - width) // 2
        square[top : top + height, left : left + width] = picture
        return square

    def finish(self, output: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities for a model's output (N, tags)."""
        values = output.astype(np.float32)
        if self.activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-values)), np.float32)
        if self.activation == "softmax":
            raised = np.exp(values - values.max(axis=-1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)
        return values

    def named(self, path: Path) -> list[tuple[str, str]]:
        """Return (name, kind) of every output, in order, from the labels file."""
        rows = _json_rows(path) if path.suffix == ".json" else _csv_rows(path)
        return [(name, self.kinds.get(category, category.lower())) for name, category in rows]


def adapter(path: Path) -> Adapter:
    """Read an adapter file; `like` names a row of data/taggers.toml to begin with. Without a file: the WD form."""
    try:
        raw = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:  # no TOML, or no UTF-8
        raise Refused(f"{path} cannot be read: {error}") from error
    like = raw.pop("like", "wd")
    if like not in known():
        raise unknown(f"`like` in {path}", like, known())
    begun = known()[like]
    for name, value in raw.items():
        if name not in (allowed := {one.name for one in fields(Adapter)}):
            raise unknown(f"setting in {path}", name, allowed)
        if not _alike(value, getattr(begun, name)):
            raise Refused(f"{name} = {value!r} in {path} is of the wrong type; docs/tagging.md shows each")
    try:
        return replace(begun, **_tuples(raw))
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def _alike(value: Any, usual: Any) -> bool:
    """Tell whether a value of TOML is of the type of the usual one."""
    if isinstance(usual, tuple):
        return isinstance(value, list) and all(_alike(one, 0.0) for one in value)
    if isinstance(usual, Mapping):
        return isinstance(value, dict)
    return type(value) in ((int, float) if isinstance(usual, float) else (type(usual),))


@cache
def known() -> dict[str, Adapter]:
    """Return the adapters of data/taggers.toml by name."""
    table = tomllib.loads((files(__package__) / "data" / "taggers.toml").read_text("utf-8"))
    return {name: Adapter(**_tuples(row)) for name, row in table.items()}


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def _resized(picture: Picture, side: int, how: str) -> Picture:
    if how == "area" and side <= min(picture.shape[:2]):
        return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(Image.fromarray(picture).resize((side, side), SMOOTH.get(how, Image.Resampling.LANCZOS)))


def by_hand(path: Path) -> Any:
    """Read a JSON file that somebody laid beside a model."""
    try:
        return read_json(path)
    except ValueError as error:  # no JSON, or no UTF-8
        raise Refused(f"{path} cannot be read: {error}") from error


def _csv_rows(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
    except (ValueError, csv.Error) as error:  # no UTF-8, or no CSV
        raise Refused(f"{path} cannot be read: {error}") from error
    if not rows or not {"name", "category"} <= rows[0].keys():
        raise Refused(f"{path} lacks the columns name and category; expected tag_id,name,category,count")
    if short := next((number for number, row in enumerate(rows, 2) if not row["name"] or not row["category"]), 0):
        raise Refused(f"{path}: line {short} has no name or no category")
    return [(row["name"], row["category"]) for row in rows]


def _json_rows(path: Path) -> list[tuple[str, str]]:
    """Read {index: {tag, category}} (cl_tagger), or idx_to_tag beside tag_to_category at any depth (camie)."""
    raw = by_hand(path)
    if found := _holding(raw, ("idx_to_tag", "tag_to_category")):
        names = _by_index(found["idx_to_tag"], path)
        return [(str(name), str(found["tag_to_category"].get(name, "general"))) for name in names]
    rows = _by_index(raw, path)
    if not all(isinstance(row, Mapping) and {"tag", "category"} <= row.keys() for row in rows):
        raise Refused(f"{path}: expected {{index: {{tag, category}}}}, or idx_to_tag with tag_to_category")
    return [(str(row["tag"]), str(row["category"])) for row in rows]


def _holding(raw: Any, names: Sequence[str]) -> Any:
    if not isinstance(raw, Mapping):
        return None
    if all(name in raw for name in names):
        return raw
    return next((found for value in raw.values() if (found := _holding(value, names))), None)


def _by_index(raw: Any, path: Path) -> list[Any]:
    try:
        return [value for _, value in sorted((int(index), value) for index, value in raw.items())]
    except (AttributeError, ValueError) as error:
        raise Refused(f"{path}: labels are numbered from 0 to the number of outputs") from error
