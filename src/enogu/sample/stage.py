"""The grid stage: every model draws every prompt under every seed; finished pictures survive a restart."""

from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from enogu.core.records.errors import Refused
from enogu.core.records.files import atomic_path
from enogu.core.records.job import Job
from enogu.sample.cell import Cell, draw_cells, known_hash
from enogu.sample.config import GridConfig, PromptConfig
from enogu.sample.infotext import number
from enogu.sample.lint import lint
from enogu.sample.settings import Request
from enogu.sample.sheet import Sheet, contact_sheet, shown_size

TABLE, SHEET = "samples.parquet", "grid.png"
SCHEMA: dict[str, pl.DataType] = {
    "image": pl.String(),
    "model": pl.String(),
    "model_sha256": pl.String(),
    "prompt_index": pl.Int32(),
    "prompt": pl.String(),
    "negative": pl.String(),
    "tags": pl.List(pl.String()),
    "seed": pl.Int64(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "steps": pl.Int32(),
    "cfg": pl.Float64(),
    "sampler": pl.String(),
}


def run(config: GridConfig, job: Job, *, replaces: bool = True) -> dict[str, Any]:
    """Draw what is missing, then write samples.parquet and grid.png; if not `replaces`, refuse a folder with others."""
    rows = config.rows()
    warnings = [line for row in rows for line in lint(row.text)]
    files = job.all("models")
    hashes = {name: known_hash(file) for name, file in files.items()}
    cells = [cell for name in files for cell in _column(config, rows, name, sha256=hashes[name])]
    missing = [cell for cell in cells if not cell.is_drawn(job.out)]
    if not replaces and (other := _other(job.out, cells, missing)):
        raise Refused(f"{job.out / other} is of another grid; choose another folder with -o, or remove it first")
    done = len(cells) - len(missing)
    for name, file in files.items():
        mine = [cell for cell in missing if cell.model == name]
        for batch in draw_cells(mine, file, job.out, device=job.device, at_once=config.pictures_at_once()):
            job.progress(done, len(cells), "pictures")
            done += batch
    job.progress(done, len(cells), "pictures")
    with atomic_path(job.out / TABLE) as part:
        _table(rows, cells).write_parquet(part)
    with atomic_path(job.out / SHEET) as part:
        _sheet(config, rows, cells, out=job.out).save(part, format="PNG")
    return {"pictures": len(cells), "drawn": len(missing), "prompts": len(rows), "models": hashes, "warnings": warnings}


def _column(config: GridConfig, rows: Sequence[PromptConfig], model: str, *, sha256: str) -> Iterator[Cell]:
    """Yield one model's pictures, row by row, seed by seed."""
    settings = config.settings()
    for index, row in enumerate(rows):
        negative = config.negative if row.negative is None else row.negative
        for seed in config.seeds:
            request = Request(prompt=row.text, negative=negative, seed=seed, settings=settings)
            yield Cell(f"images/{model}/{index:04}-{seed}.png", model, sha256, request=request, row=index)


def _other(out: Path, cells: Sequence[Cell], missing: Sequence[Cell]) -> str | None:
    """Return a file that would be lost; a grid that holds all that the one before it did loses nothing."""
    for cell in missing:
        if (out / cell.image).exists():
            return cell.image
    if not (out / TABLE).exists():
        return SHEET if (out / SHEET).exists() else None
    try:
        before = set(pl.read_parquet(out / TABLE, columns=["image"])["image"])
    except pl.exceptions.PolarsError:  # no table of ours
        return TABLE
    return None if before <= {cell.image for cell in cells} else SHEET


def _table(rows: Sequence[PromptConfig], cells: Sequence[Cell]) -> pl.DataFrame:
    return pl.DataFrame([_record(cell, rows[cell.row]) for cell in cells], schema=SCHEMA)


def _record(cell: Cell, row: PromptConfig) -> dict[str, Any]:
    settings = cell.request.settings
    return {
        "image": cell.image,
        "model": cell.model,
        "model_sha256": cell.sha256,
        "prompt_index": cell.row,
        "prompt": cell.request.prompt,
        "negative": cell.request.negative,
        "tags": list(row.asked()),
        "seed": cell.request.seed,
        "width": settings.width,
        "height": settings.height,
        "steps": settings.steps,
        "cfg": settings.cfg,
        "sampler": settings.sampler,
    }


def _sheet(config: GridConfig, rows: Sequence[PromptConfig], cells: Sequence[Cell], *, out: Path) -> Image.Image:
    hashes = {cell.model: cell.sha256 for cell in cells}
    counts = (_count(hashes, "model"), _count(rows, "prompt"), _count(config.seeds, "seed"))
    sheet = Sheet(
        heading=", ".join(counts),
        note=_note(config),
        rows=tuple(row.text for row in rows),
        columns=tuple((name, sha256[:10]) for name, sha256 in hashes.items()),
        seeds=config.seeds,
        picture=shown_size(config.width, config.height, len(cells)),
    )

    def picture(row: int, column: int, seed: int) -> Image.Image:
        return Image.open(out / cells[(column * len(rows) + row) * len(config.seeds) + seed].image)

    return contact_sheet(sheet, picture)


def _note(config: GridConfig) -> str:
    parts = (config.sampler, f"{config.steps} steps", f"CFG {number(config.cfg)}", f"{config.width} x {config.height}")
    return "  ·  ".join([*parts, *([f"not: {config.negative}"] if config.negative else [])])


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
