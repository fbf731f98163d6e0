"""Ask a program about every picture, keep what can be said, list what cannot."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from enogu.captions.nl.answers import SCHEMA, Answer, Journal, parsed
from enogu.captions.nl.config import NlConfig
from enogu.captions.nl.program import Ended, Program
from enogu.captions.texts import REPAIRED, SENTENCE, usable
from enogu.core.records.files import atomic_path
from enogu.core.records.job import Job
from enogu.core.records.picture import PictureError, read_bytes
from enogu.core.records.posts import CATEGORIES, Manifest, read_manifest
from enogu.core.records.progress import Progress

ANSWERS = "answers.jsonl"  # every answer as it came
TEXTS = "texts.parquet"  # id, caption: what [captions] reads
FAULTS = "faults.parquet"  # post, text, fault
SILENT = "no answer"
JUDGED = 20_000  # answers at a time


def run(config: NlConfig, job: Job) -> dict[str, Any]:
    """Write texts.parquet and faults.parquet; until they are there, answers.jsonl is gone on from."""
    manifest = read_manifest(job.one("posts"))
    folder, log = Path(config.folder).absolute(), job.out / "program.log"
    program = Program(command=config.command, folder=folder, log=log, patience=config.patience)
    program.check()
    job.out.mkdir(parents=True, exist_ok=True)
    if not (job.out / TEXTS).exists():
        with Journal(job.out / ANSWERS) as journal:
            asked = pl.col("id").is_in(journal.posts().implode())
            left = manifest.frame.select("id").with_row_index("row").filter(~asked)["row"]
            before = len(manifest.frame) - len(left)
            for start in range(0, len(left), config.batch):
                rows = left[start : start + config.batch].to_list()
                _ask(program, journal, manifest, rows=rows, before=before + start, progress=job.progress)
            _judge(journal, config, job.out)
    (job.out / ANSWERS).unlink(missing_ok=True)
    reasons = pl.read_parquet(job.out / FAULTS, columns=["fault"])["fault"].str.replace(r"(?s):.*", "")
    texts = pl.scan_parquet(job.out / TEXTS).select(pl.len()).collect().item()
    return {"posts": len(manifest.frame), "texts": texts, "faults": dict(sorted(reasons.value_counts().rows()))}


def _ask(
    program: Program,
    journal: Journal,
    manifest: Manifest,
    *,
    rows: Sequence[int],
    before: int,
    progress: Progress,
) -> None:
    """Have one run of the program answer for some posts, and note those that it leaves out."""
    with TemporaryDirectory() as scratch:
        requests = []
        for row in rows:
            try:
                requests.append(_request(manifest, row, Path(scratch)))
            except PictureError as error:
                journal.add(Answer(post=manifest.frame["id"][row], fault=error.reason))
        waiting = {request["post"] for request in requests}
        asked = len(waiting)
        try:
            for line in program.ask(requests) if requests else ():
                if line.strip():
                    answer = parsed(line, waiting)
                    journal.add(answer)
                    waiting -= {answer.post}
                    progress(before + len(rows) - len(waiting), len(manifest.frame), "pictures described")
        except Ended as ended:
            if len(waiting) == asked:
                raise  # it does not work at all: nothing is to be gained by going on
            fault = f"{SILENT}: {ended}"
        else:
            fault = SILENT
    for post in sorted(waiting):
        journal.add(Answer(post=post, fault=fault))
    journal.sync()


def _request(manifest: Manifest, row: int, scratch: Path) -> dict[str, Any]:
    """Return a line for the program; a picture in a tar is laid where it can open it."""
    post = manifest.frame.row(row, named=True)
    path = manifest.image(row).absolute()
    if not path.is_file():
        data = read_bytes(path)
        path = scratch / f"{post['id']}{path.suffix}"
        path.write_bytes(data)
    tags = [tag for category in CATEGORIES for tag in post[f"tags_{category}"] or ()]
    return {"post": post["id"], "path": str(path), "tags": tags}


def _judge(journal: Journal, config: NlConfig, out: Path) -> None:
    """Write what is fit to be said and what is not."""
    with TemporaryDirectory(dir=out) as scratch:
        good, bad = Path(scratch, "good"), Path(scratch, "bad")
        with good.open("wb") as texts, bad.open("wb") as faults:
            for batch in journal.batches(JUDGED):
                found = _with_faults(batch, config.longest)
                found.filter(fault="").select(id="post", caption="text").write_ndjson(texts)
                found.filter(pl.col("fault") != "").select(*SCHEMA).write_ndjson(faults)
        for path, name, schema in ((bad, FAULTS, SCHEMA), (good, TEXTS, {"id": pl.Int64, "caption": pl.String})):
            rows = pl.scan_ndjson(path, schema=schema) if path.stat().st_size else pl.LazyFrame(schema=schema)
            with atomic_path(out / name) as part:
                rows.sink_parquet(part)


def _with_faults(batch: pl.DataFrame, longest: int) -> pl.DataFrame:
    told = usable(batch.filter(fault="").select("post", "text"))
    length = pl.col("text").str.len_chars()
    fault = (
        pl.when(~pl.col("kind").is_in([SENTENCE, REPAIRED]))
        .then("kind")
        .when(length > longest)
        .then(pl.lit("too long"))
        .otherwise(pl.lit(""))
    )
    told = told.select("post", "text", fault=fault)
    return pl.concat([told, batch.filter(pl.col("fault") != "").select("post", "text", "fault")])
