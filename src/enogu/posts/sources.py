"""The sources by name: how each is read, what its ratings mean, how it is recognised."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from enogu.core.records.errors import Refused, unknown
from enogu.posts import danbooru_sqlite, e621_csv, folder, json_posts, kohya_json, packed, parquet, sqlite, webdataset
from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.sidecars import ENDINGS, IMAGES

JSON = (".jsonl", ".ndjson", ".json")
TAGS_CSV = ("tags*.csv*",)
Reader = Callable[[Path, Asked], Iterator[Batch]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One kind of source; `read` yields its posts in batches, so that no source need fit into memory."""

    read: Reader
    site: str  # whose ids they are
    ratings: str  # a table of ratings.toml
    suffixes: tuple[str, ...] = ()
    fits: Callable[[Path], bool] = lambda path: True  # looks into a file with one of these suffixes
    numbers: bool = False  # the ids are ours: a second post with the same one gets another
    tables: tuple[str, ...] = ()  # how the dump of the site's tags is called, where it lies beside
    files: tuple[Path, ...] = ()  # read one after another, where it is more than one


def _json(site: str, *names: str, tables: tuple[str, ...] = ()) -> Source:
    read, fits = json_posts.reader(*names), json_posts.fits(*names)
    return Source(read=read, site=site, ratings=site, suffixes=JSON, fits=fits, tables=tables)


SOURCES = MappingProxyType(
    {
        "danbooru-json": _json("danbooru", "danbooru", "danbooru-bigquery"),
        "danbooru-sqlite": Source(
            read=danbooru_sqlite.read,
            site="danbooru",
            ratings="danbooru2023-sqlite",
            suffixes=(".db", ".sqlite", ".sqlite3"),
            fits=sqlite.fits,
        ),
        "e621-json": _json("e621", "e621", "e621-extended", "e621-basic", tables=TAGS_CSV),
        "e621-csv": Source(
            read=e621_csv.read, site="e621", ratings="e621", suffixes=(".csv",), fits=e621_csv.fits, tables=TAGS_CSV
        ),
        "moebooru-json": _json("moebooru", "moebooru", tables=("tag*.json*",)),
        "kohya-json": Source(
            read=kohya_json.read, site="folder", ratings="folder", suffixes=JSON, fits=kohya_json.fits, numbers=True
        ),
        "parquet": Source(read=parquet.read, site="parquet", ratings="parquet", suffixes=(".parquet",)),
        "webdataset": Source(
            read=webdataset.read,
            site="folder",
            ratings="folder",
            suffixes=(".tar",),
            fits=webdataset.holds_posts,
            numbers=True,
        ),
        "gallery-dl": Source(read=folder.read, site="folder", ratings="folder", numbers=True),
        "folder": Source(read=folder.read, site="folder", ratings="folder", numbers=True),
    }
)
FOLDERS = ("folder", "gallery-dl", "webdataset")  # read as one, not file by file


def find(path: Path, name: str) -> tuple[Path, Source]:
    """Return what to read and its kind; a folder may hold a dump in one file or in many."""
    if name != "auto" and name not in SOURCES:
        raise unknown("format in posts.format", name, [*SOURCES, "auto"])
    if not path.exists():
        raise Refused(f"posts.source: there is no {path}; give a file or folder that is on this machine")
    if path.is_file():
        return path, _of_file(path, name)
    files = _dumps(path)
    for source in SOURCES.values() if name == "auto" else [SOURCES[name]]:
        if found := [file for file in files if packed.suffix(file) in source.suffixes and source.fits(file)]:
            if source.read is webdataset.read:
                return path, source
            return found[0], source if len(found) == 1 else _joined(source, found)
    if name in ("auto", *FOLDERS) and any(True for _ in folder.images(path)):
        return path, SOURCES["folder" if name == "auto" else name]
    raise _unlike(
        path, name, f"it holds {', '.join(sorted({file.suffix or file.name for file in files})) or 'no dump'}"
    )


def _of_file(path: Path, name: str) -> Source:
    if name != "auto":
        if name in ("folder", "gallery-dl"):
            raise _unlike(path, name, "it is a file")
        return SOURCES[name]  # a dump under an unusual name, perhaps
    for source in SOURCES.values():
        if packed.suffix(path) in source.suffixes and source.fits(path):
            return source
    raise _unlike(
        path, name, json_posts.seen(path) if packed.suffix(path) in JSON else "neither its name nor its beginning does"
    )


def _unlike(path: Path, name: str, why: str) -> Refused:
    wanted = "any format" if name == "auto" else name
    return Refused(f"posts.source: {path} does not look like {wanted} ({why}); formats: {', '.join(SOURCES)}")


def _dumps(path: Path) -> list[Path]:
    """Return the files of a folder in order, without its pictures and what lies beside them."""
    files = sorted(file for file in path.iterdir() if file.is_file())
    pictures = [file for file in files if file.suffix.lower() in IMAGES]
    names = {file.name for file in pictures} | {file.stem for file in pictures}
    beside = (*ENDINGS, *IMAGES)
    return [file for file in files if not (file.suffix.lower() in beside and (file in pictures or file.stem in names))]


def _joined(source: Source, files: Iterable[Path]) -> Source:
    """Return a source that reads one file after another; its mark says in which it is."""
    every = tuple(files)

    def read(folder_: Path, asked: Asked) -> Iterator[Batch]:
        first, after = asked.after or (0, None)
        for number, file in islice(enumerate(every), first, None):
            inner = Asked(scratch=asked.scratch / str(number), after=after, tags=asked.tags, columns=asked.columns)
            for batch in source.read(file, inner):
                skipped = tuple(Skip(f"{file.name}, {skip.at}", skip.reason) for skip in batch.skipped)
                mark = None if batch.mark is None else [number, batch.mark]
                yield replace(batch, skipped=skipped, mark=mark)
            after = None

    return Source(
        read=read, site=source.site, ratings=source.ratings, numbers=source.numbers, tables=source.tables, files=every
    )
