"""Captions as kohya's trainers read them: a .txt per image, `in_json` metadata, or its JSON lines.

Of a .txt they read the first line, and stop at a file without any; of metadata they say `caption`, then `tags`. A mark
divides a caption into a beginning that stays, words that are shuffled, and an end that stays (`keep_tokens_separator`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from enogu.captions.caption import Said, text
from enogu.captions.config import MARK
from enogu.captions.reading import Reader
from enogu.core.records.errors import Refused, unknown
from enogu.core.records.files import atomic_path
from enogu.core.records.posts import read_manifest
from enogu.core.records.progress import Progress, silent

FORMS = ("txt", "in_json", "jsonl")
EVERY = 1000  # captions between two signs of progress


@dataclass(frozen=True)
class Captioned:
    """One image, below the root of the images, with what is said of it."""

    image: str
    size: tuple[int, int]
    said: Said


class Export:
    """The captions of one set with the images that they are of."""

    def __init__(self, captions: Reader, posts: Path, set: str, *, mark: bool = False) -> None:
        """Open the manifest that the captions were made from; `mark` writes ||| around what is shuffled."""
        if set not in captions.sets:
            raise unknown("caption set", set, captions.sets)
        manifest = read_manifest(posts)
        self.root, self._frame = manifest.root, manifest.frame.select("id", "image", "width", "height")
        self.rules, self._mark = captions.sets[set], mark
        self._captions, self._set = captions, set
        self.torn = 0  # words with a comma of their own, which will be read as two

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._frame)

    def text_files(self, paths: Sequence[Path], progress: Progress = silent) -> None:
        """Write a .txt for each image, at `text_paths`."""
        for path, row in zip(paths, self._rows(progress), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.line(row.said) + "\n", encoding="utf-8", newline="\n")

    def text_paths(self, out: Path) -> list[Path]:
        """Return the .txt of each image: at the image's place below `out`, or beside it where that is the root."""
        twins = self._frame.filter(pl.col("image").str.replace(r"\.[^./]*$", "").is_duplicated())["image"].sort()
        if len(twins):
            raise Refused(f"{twins[0]} and {twins[1]} would share one .txt: write in_json, which names whole files")
        paths, root = [(out / image).with_suffix(".txt") for image in self._frame["image"]], out.resolve()
        for path, image in zip(paths, self._frame["image"], strict=True):
            if not path.resolve().is_relative_to(root):
                raise Refused(f"{image!r} leads out of {out}: its caption is not written")
        return paths

    def metadata(self, out: Path, progress: Progress = silent) -> None:
        """Write one JSON object: a key per image, its whole path, as `in_json` wants it."""
        with atomic_path(out) as part, part.open("w", encoding="utf-8", newline="\n") as handle:
            handle.write("{")
            for number, row in enumerate(self._rows(progress)):
                key = json.dumps(str(self.root / row.image), ensure_ascii=False)
                handle.write(f"{',' if number else ''}\n{key}: {json.dumps(self._entry(row), ensure_ascii=False)}")
            handle.write("\n}\n")

    def lines(self, out: Path, progress: Progress = silent) -> None:
        """Write a line of JSON per image."""
        with atomic_path(out) as part, part.open("w", encoding="utf-8", newline="\n") as handle:
            for row in self._rows(progress):
                entry = {"image_path": str(self.root / row.image), "caption": "", **self._entry(row)}
                handle.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def line(self, said: Said) -> str:
        """Return a caption, with the marks, if asked for."""
        if not self._mark:
            return text(said, self.rules)
        free = [place for place, word in enumerate(said) if word.group in self.rules.shuffled]
        first, last = (free[0], free[-1] + 1) if free else (len(said), len(said))
        parts = [said[:first], said[first:last], said[last:]]
        spelt = [text(part, self.rules) for part in parts]
        return f" {MARK} ".join(spelt if parts[2] else spelt[:2]).strip()

    def _entry(self, row: Captioned) -> dict[str, Any]:
        """Return what metadata says: sentences at the beginning as `caption`, all that follows as `tags`."""
        sentences = 0
        while sentences < len(row.said) and row.said[sentences].group in self._captions.text_groups:
            sentences += 1
        told = {"caption": text(row.said[:sentences], self.rules)} if sentences else {}
        return {**told, "tags": self.line(row.said[sentences:]), "image_size": row.size}

    def _rows(self, progress: Progress) -> Iterator[Captioned]:
        comma = self.rules.separator.strip() or self.rules.separator
        self.torn = 0
        for number, (post, image, width, height) in enumerate(self._frame.iter_rows(), start=1):
            said = self._captions.written(post, self._set)
            self.torn += sum(comma in word.text for word in said if word.group not in self._captions.text_groups)
            yield Captioned(image, (width, height), said)
            if number % EVERY == 0 or number == len(self):
                progress(number, len(self), "captions")


def export(made: Export, out: Path, form: str, *, overwrite: bool = False, progress: Progress = silent) -> None:
    """Write captions in one of FORMS; refuse where files are there already, unless they may be lost."""
    paths = made.text_paths(out) if form == "txt" else [out]
    if not overwrite and (there := [path for path in paths if path.exists()]):
        others = f" and {len(there) - 1:,} others" if len(there) > 1 else ""
        raise Refused(f"{there[0]}{others} exist already; export elsewhere, or replace them with --overwrite")
    if form == "txt":
        made.text_files(paths, progress)
    else:
        {"in_json": made.metadata, "jsonl": made.lines}[form](out, progress)
