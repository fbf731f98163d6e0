"""Posts taken out of everything a work folder holds, and a word on the checkpoints that have learnt them already.

Rows leave manifests and indexes, each file whole or not at all; latents are overwritten with zeros where they lie;
captions and reports are cleared, for the next run to make anew. What is downstream goes first and the manifest last, so
that a withdrawal that was killed finds its way again.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import atomic_path, read_json, write_bytes, write_json
from enogu.core.records.shards import left_over
from enogu.posts.opt_out import LIST, Post, named, read_list, written
from enogu.recipe.done import FILE, noted
from enogu.recipe.ledger import rows as ledger_rows
from enogu.recipe.lock import locked

REMADE = ("captions", "report")  # quickly made from what they read


@dataclass(frozen=True)
class Stage:
    """A finished stage, or one that only the ledger remembers (no folder)."""

    id: str
    hash: str
    reads: frozenset[str]  # hashes
    folder: Path | None


@dataclass(frozen=True)
class Withdrawal:
    """What was done, by folder, and what cannot be undone."""

    removed: Mapping[str, int]  # rows by file
    cleared: tuple[str, ...]  # folders that the next run makes anew
    learnt: tuple[str, ...]  # checkpoints that have learnt from the posts
    gone: tuple[str, ...]  # trainings that learnt from them, whose folder is not here any more


def withdraw(work: Path, posts: set[Post]) -> Withdrawal:
    """Take posts out of a work folder, and keep them out of what is made there from now on."""
    stages = _stages(work)
    if not stages:
        raise Refused(f"{work} is no work folder: it holds no finished stage; give the `work` of a recipe")
    listed = read_list(work / LIST) if (work / LIST).exists() else set()
    if more := posts - listed:
        kept = (work / LIST).read_bytes() if listed else b"# posts that may not be used, one a line: site and id\n"
        write_bytes(work / LIST, kept + written(more))
    sources = {stage.hash: ids for stage in stages.values() if (ids := _held(stage, posts | listed))}
    heard = {stage.hash: ids for stage in stages.values() if (ids := _reached(stage, stages, sources))}
    removed: dict[str, int] = {}
    cleared, learnt, gone = [], [], []
    for stage in sorted((stages[hash] for hash in heard), key=lambda stage: stage.hash in sources):
        if stage.folder is None:
            gone += [f"{stage.id} ({stage.hash[:8]})"] if stage.id.startswith("train.") else []
            continue
        with locked(work / ".locks" / stage.folder.name, _busy(stage)):
            learnt += [str(path.relative_to(work)) for path in sorted(stage.folder.rglob("*.safetensors"))]
            if stage.id.partition(".")[0] in REMADE:
                cleared += [stage.folder.name] if _clear(stage.folder) else []
                continue
            for name, count in _remove(stage.folder, heard[stage.hash]).items():
                removed[f"{stage.folder.name}/{name}"] = count
    return Withdrawal(removed, tuple(cleared), tuple(learnt), tuple(gone))


def _busy(stage: Stage) -> Callable[[str], None]:
    def waiting(owner: str) -> None:
        raise Failed(f"{stage.id} is being made by process {owner or '?'}; stop it, then opt out again")

    return waiting


def _stages(work: Path) -> dict[str, Stage]:
    """Return every stage of the ledger and of the folders, by its hash."""
    found = {}
    for row in ledger_rows(work / "ledger.jsonl"):
        if row.get("ended") == "done":
            found[row["hash"]] = Stage(row["id"], row["hash"], _read_by(row["inputs"]), None)
    for path in sorted(work.glob(f"*/{FILE}")):
        row = read_json(path)
        found[row["hash"]] = Stage(row["id"], row["hash"], _read_by(row["inputs"]), path.parent)
    return found


def _read_by(inputs: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    return frozenset(hash for names in inputs.values() for hash in names.values())


def _held(stage: Stage, posts: set[Post]) -> frozenset[int]:
    """Return the ids of a posts stage that are, or were until now, in its manifest."""
    if stage.folder is None or not (stage.folder / "manifest.parquet").exists():
        return frozenset()
    was = {(site, number) for site, number in read_json(stage.folder / "posts.json").get("opted_out", ())}
    frame = pl.scan_parquet(stage.folder / "manifest.parquet").select("source", "id").filter(named(posts)).collect()
    return frozenset(frame["id"]) | {number for site, number in was if {(site, number), ("", number)} & posts}


def _reached(stage: Stage, stages: Mapping[str, Stage], sources: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """Return the ids that a stage has read from, through whatever others."""
    ahead, seen, ids = [stage.hash], {stage.hash}, set(sources.get(stage.hash, ()))
    while ahead:
        here = stages.get(ahead.pop())
        for hash in (here.reads if here else frozenset()) - seen:
            seen.add(hash)
            ahead.append(hash)
            ids |= sources.get(hash, frozenset())
    return frozenset(ids)


def _remove(folder: Path, ids: frozenset[int]) -> dict[str, int]:
    """Remove posts from one stage's files, its index of posts among them; return how many rows went."""
    removed: dict[str, int] = {}
    if (folder / "index.parquet").exists():
        removed |= _zero(folder, ids)
    if (folder / "audit").exists():
        _forget(folder, ids)
    tables = [path for path in sorted(folder.glob("*.parquet")) if path.name != "manifest.parquet"]
    for path in [*tables, folder / "manifest.parquet"]:
        if path.exists() and (count := _without(path, ids)):
            removed[path.name] = count
    if "manifest.parquet" in removed or "posts.parquet" in removed:
        shutil.rmtree(folder / "posts.index", ignore_errors=True)
    _sign(folder, removed)
    return removed


def _without(path: Path, ids: frozenset[int]) -> int:
    """Write a table without some posts; return how many rows went."""
    table = pl.scan_parquet(path)
    schema = table.collect_schema()
    column = next((name for name in ("post", "id") if schema.get(name) == pl.Int64()), None)
    out = pl.col(column or "").is_in(list(ids))
    if column is None or not (count := int(table.select(out.sum()).collect().item())):
        return 0
    if path.name == "manifest.parquet":
        _note(path.parent, table.filter(out).select("source", "id").collect())
    with atomic_path(path) as part:
        table.filter(~out).sink_parquet(part)
    return count


def _forget(folder: Path, ids: frozenset[int]) -> None:
    """Remove what the audit saw of some posts' images."""
    posts = pl.scan_parquet(folder / "posts.parquet").filter(pl.col("id").is_in(list(ids)))
    images = posts.select("image").collect()["image"].drop_nulls().to_list()
    for path in sorted((folder / "audit").glob("*.parquet")):
        seen = pl.read_parquet(path)
        if seen["image"].is_in(images).any():
            with atomic_path(path) as part:
                seen.filter(~pl.col("image").is_in(images)).write_parquet(part)


def _note(folder: Path, gone: pl.DataFrame) -> None:
    """Remember in posts.json who went, so that one can still ask which checkpoints have learnt them."""
    about = read_json(folder / "posts.json")
    was = {(site, number) for site, number in about.get("opted_out", ())}
    about["opted_out"] = sorted(was | set(gone.rows()))
    write_json(folder / "posts.json", about)


def _zero(folder: Path, ids: frozenset[int]) -> dict[str, int]:
    """Overwrite the latents of some posts, except those that another post shares."""
    tables = (pl.read_parquet(folder / "index.parquet"), left_over(folder))
    index = pl.concat([table.select("post", "shard", "offset", "nbytes") for table in tables])
    mine = pl.col("post").is_in(list(ids))
    kept = index.filter(~mine).select("shard", "offset").unique()
    lone = index.filter(mine).join(kept, on=["shard", "offset"], how="anti").unique(["shard", "offset"])
    for shard, rows in lone.group_by("shard"):
        with (folder / str(shard[0])).open("r+b") as file:
            for offset, nbytes in rows.select("offset", "nbytes").iter_rows():
                file.seek(offset)
                file.write(bytes(nbytes))
    return {str(shard): count for shard, count in lone.group_by("shard").len().sort("shard").iter_rows()}


def _clear(folder: Path) -> bool:
    """Empty a folder; its record goes last, so that a withdrawal that was killed finds what is left."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != FILE:
            path.unlink()
    shutil.rmtree(folder)
    return True


def _sign(folder: Path, removed: Iterable[str]) -> None:
    """Bring the stage's record up to date, so that the files count as its own."""
    done: dict[str, Any] = read_json(folder / FILE)
    stale = {name for name, was in done["outputs"].items() if (folder / name).stat().st_size != was["bytes"]}
    names = stale | ({*removed, "posts.json"} & done["outputs"].keys())
    for name in sorted(names):
        done["outputs"][name] = noted(folder / name)
    if names:
        write_json(folder / FILE, done)
