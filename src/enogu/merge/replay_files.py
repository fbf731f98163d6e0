"""The files of a replay: looked for by hash, then by name."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from enogu.core.records.errors import Refused
from enogu.core.records.known_hashes import KnownHashes
from enogu.core.records.progress import Progress, silent
from enogu.merge.patterns import SUFFIXES
from enogu.merge.replay_records import Wanted


def find_files(
    wanted: Mapping[str, Wanted], folders: Sequence[Path], hashes: KnownHashes, *, progress: Progress = silent
) -> dict[str, Path]:
    """Return the file of every model, or refuse and name what is missing; likely files are hashed first."""
    candidates = list(dict.fromkeys(_candidates(folders)))
    found = {name: path for name, model in wanted.items() if not model.sha256 for path in _called(model, candidates)}
    open_hashes = {name: model for name, model in wanted.items() if model.sha256}
    stems = {_stem(model.title) for model in open_hashes.values()}
    candidates.sort(key=lambda path: (not hashes.saw(path), _stem(path.name) not in stems))
    for done, path in enumerate(candidates):
        left = {name: model for name, model in open_hashes.items() if name not in found}
        if not left:
            break
        progress(done, len(candidates), "files")
        digest = hashes.of(path)
        found |= {name: path for name, model in left.items() if digest.startswith(model.sha256)}
    if missing := {name: model for name, model in wanted.items() if name not in found}:
        listed = "; ".join(f"{name} ({model})" for name, model in missing.items())
        where = (
            f"not found in {', '.join(map(str, folders))}"
            if folders
            else "no folder to look in, name one with --models"
        )
        raise Refused(f"{where}: {listed}; or bind each by hand as NAME=FILE")
    return {name: found[name] for name in wanted}


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise Refused(f"{folder}: no such folder")
        yield from sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


def _called(model: Wanted, candidates: Sequence[Path]) -> list[Path]:
    alike = [path for path in candidates if _stem(path.name) == _stem(model.title)]
    if len(alike) > 1:
        raise Refused(f"{model.title!r} may be any of {', '.join(map(str, alike))}; bind it by hand as NAME=FILE")
    return alike


def _stem(title: str) -> str:
    name = title.replace("\\", "/").rpartition("/")[2].split(" [")[0]
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
