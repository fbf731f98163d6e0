"""The sources by name: how each is read, what its ratings mean, how it is recognised."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from enogu.core.records.errors import Refused, unknown
from enogu.posts import danbooru_json, danbooru_sqlite, folder
from enogu.posts.normal import Batch


@dataclass(frozen=True, kw_only=True)
class Source:
    """One kind of source; `read` yields its posts in batches, so that no source need fit into memory."""

    read: Callable[[Path], Iterator[Batch]]
    site: str  # whose ids they are
    ratings: str  # a table of ratings.toml
    suffixes: tuple[str, ...] = ()


SOURCES = MappingProxyType(
    {
        "danbooru-json": Source(
            read=danbooru_json.read, site="danbooru", ratings="danbooru", suffixes=(".jsonl", ".ndjson")
        ),
        "danbooru-sqlite": Source(
            read=danbooru_sqlite.read,
            site="danbooru",
            ratings="danbooru2023-sqlite",
            suffixes=(".db", ".sqlite", ".sqlite3"),
        ),
        "folder": Source(read=folder.read, site="folder", ratings="folder"),
    }
)


def find(path: Path, name: str) -> tuple[Path, Source]:
    """Return the file or folder to read and its kind; a folder may hold a dump, known by its suffix."""
    if name != "auto" and name not in SOURCES:
        raise unknown("format in posts.format", name, [*SOURCES, "auto"])
    if not path.exists():
        raise Refused(f"posts.source: there is no {path}; give a file or folder that is on this machine")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for source in SOURCES.values() if name == "auto" else [SOURCES[name]]:
        if found := [file for file in files if file.suffix.lower() in source.suffixes]:
            return found[0], source
    if path.is_dir() and name in ("auto", "folder"):
        return path, SOURCES["folder"]
    if path.is_file() and name not in ("auto", "folder"):
        return path, SOURCES[name]  # a dump under an unusual name
    raise Refused(f"posts.source: {path} does not look like {name}; formats: {', '.join(SOURCES)}")
