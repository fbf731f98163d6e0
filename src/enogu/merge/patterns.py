"""Patterns of a formula spelt out as lists of names: of the models that are known, and of files on disk."""

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from enogu.core.records.errors import Refused, nearest, unknown
from enogu.merge.presets import is_preset
from enogu.merge.syntax import Items, Text, parse
from enogu.merge.wording import worded

SIGNS = "*?["
SUFFIXES = (".safetensors", ".ckpt", ".pt")


def is_pattern(text: str) -> bool:
    """Return whether a quoted word stands for all models that match it."""
    return bool(set(text) & set(SIGNS)) and not is_preset(text)


def matching(pattern: str, models: Iterable[str]) -> list[str]:
    """Return the models whose names match a pattern, sorted: a folder has no order."""
    return sorted(name for name in models if fnmatchcase(name, pattern))


def unknown_model(text: str, known: Iterable[str]) -> Refused:
    """Return a refusal for a quoted word that is no model's name, or a pattern that none matches."""
    if not is_pattern(text):
        return unknown("model", text, known)
    return Refused(f"no model matches {text!r}; {nearest(text, known)}")


def spelt_out(formula: str, folder: Path, known: Mapping[str, Path | None]) -> tuple[str, dict[str, Path]]:
    """Return a formula whose patterns are lists of names, and the files that were bound to names for it.

    The recipe that a merged file holds names its models and their hashes, not what lay in a folder or where.
    """
    found: dict[str, Path] = {}
    for item in reversed([each for each in parse(formula).walk() if isinstance(each, Text)]):
        is_file = item.text.endswith(SUFFIXES) and item.text not in known
        if not is_pattern(item.text) and not is_file:
            continue
        if "/" in item.text or is_file:
            bound = _bound(_files(item.text, folder), folder, {**known, **found})
            found |= bound
            names = sorted(bound)
        elif not (names := matching(item.text, known)):
            raise unknown_model(item.text, known)
        one = is_file and (folder / item.text).is_file()  # its name may hold signs of a pattern
        listed = worded(Text(names[0]) if one else Items(tuple(map(Text, names))))
        formula = formula[: item.at] + listed + formula[item.at + len(item.text) + 2 :]
    return formula, {name: path for name, path in found.items() if name not in known}


def _files(pattern: str, folder: Path) -> list[Path]:
    """Return the checkpoints that a pattern of paths matches, sorted, or refuse with the nearest there is."""
    if (folder / pattern).is_file():
        return [folder / pattern]
    start = Path(Path(pattern).anchor or folder)
    inner = pattern[len(Path(pattern).anchor) :]
    if found := _checkpoints(start.glob(inner)):
        return found
    fixed = start.joinpath(*(part for part in Path(inner).parent.parts if not set(part) & set(SIGNS)))
    if not fixed.is_dir():
        raise Refused(f"{pattern!r} matches no file: there is no folder {fixed}")
    beside = [os.path.relpath(path, start) for path in _checkpoints(fixed.iterdir())]
    raise unknown("pattern of files" if is_pattern(inner) else "file", inner, beside)


def _checkpoints(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix in SUFFIXES or (path / "model_index.json").is_file())


def _bound(files: list[Path], folder: Path, known: Mapping[str, Path | None]) -> dict[str, Path]:
    """Name files by their stems, by their paths where stems are taken; a file that has a name keeps it."""
    owners = {path.resolve(): name for name, path in known.items() if path is not None}
    stems = [path.stem for path in files]
    names: dict[str, Path] = {}
    for path in files:
        name = owners.get(path.resolve(), "")
        if not name and stems.count(path.stem) == 1 and path.stem not in known:
            name = path.stem
        name = re.sub(r"[\[\]*?\"'\n]+", "_", name or Path(os.path.relpath(path, folder)).with_suffix("").as_posix())
        if name in names or (name in known and name != owners.get(path.resolve())):
            raise Refused(f"{path}: another model is called {name!r}, too; bind it by hand")
        names[name] = path
    return names
