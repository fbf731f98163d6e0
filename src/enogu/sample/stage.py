"""The grid stage: every model draws every prompt under every seed; finished pictures survive a restart."""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from enogu.core.networks.checkpoint import load_model
from enogu.core.records.files import atomic_path
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.sample.config import GridConfig, PromptConfig
from enogu.sample.draw import draw
from enogu.sample.infotext import Infotext, number, read_png, write_png
from enogu.sample.settings import Request
from enogu.sample.sheet import Sheet, contact_sheet, shown_size

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


@dataclass(frozen=True)
class Cell:
    """One picture of a grid: where it belongs and what it is drawn from."""

    model: str
    sha256: str
    row: int
    request: Request

    @property
    def image(self) -> str:
        """Return its path below the stage's folder."""
        return f"images/{self.model}/{self.row:04}-{self.request.seed}.png"

    @property
    def infotext(self) -> Infotext:
        """Return what the picture says of itself."""
        return self.request.infotext(self.model, self.sha256)


def run(config: GridConfig, job: Job) -> dict[str, Any]:
    """Draw what is missing, then write samples.parquet and grid.png."""
    rows = config.rows()
    files = job.all("models")
    hashes = {name: sha256_file(file) for name, file in files.items()}
    cells = list(_cells(config, rows, hashes))
    missing = [cell for cell in cells if read_png(job.out / cell.image) != str(cell.infotext)]
    done = len(cells) - len(missing)
    for name, file in files.items():
        for batch in _draw_missing([cell for cell in missing if cell.model == name], file, config, job):
            job.progress(done, len(cells), "pictures")
            done += batch
    job.progress(done, len(cells), "pictures")
    with atomic_path(job.out / "samples.parquet") as part:
        _table(cells, rows).write_parquet(part)
    _write_sheet(config, rows, cells, job.out)
    return {"pictures": len(cells), "drawn": len(missing), "models": hashes, "prompts": len(rows)}


def _cells(config: GridConfig, rows: Sequence[PromptConfig], hashes: dict[str, str]) -> Iterator[Cell]:
    settings = config.settings()
    for model, sha256 in hashes.items():
        for index, row in enumerate(rows):
            negative = config.negative if row.negative is None else row.negative
            for seed in config.seeds:
                request = Request(prompt=row.text, negative=negative, seed=seed, settings=settings)
                yield Cell(model, sha256, index, request)


def _draw_missing(cells: Sequence[Cell], file: Path, config: GridConfig, job: Job) -> Iterator[int]:
    """Draw one model's pictures batch by batch; yield how many each batch added."""
    if not cells:
        return
    model = load_model(file, device=job.device)
    step = config.pictures_at_once()
    for start in range(0, len(cells), step):
        batch = cells[start : start + step]
        pictures = draw(model, [cell.request for cell in batch])
        for cell, picture in zip(batch, pictures, strict=True):
            write_png(job.out / cell.image, Image.fromarray(picture), cell.infotext)
        yield len(batch)


def _table(cells: Sequence[Cell], rows: Sequence[PromptConfig]) -> pl.DataFrame:
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


def _write_sheet(config: GridConfig, rows: Sequence[PromptConfig], cells: Sequence[Cell], out: Path) -> None:
    hashes = {cell.model: cell.sha256 for cell in cells}
    sheet = Sheet(
        heading=f"{_count(hashes, 'model')} × {_count(rows, 'prompt')} × {_count(config.seeds, 'seed')}",
        note=_note(config),
        rows=tuple(row.text for row in rows),
        columns=tuple((name, sha256[:10]) for name, sha256 in hashes.items()),
        seeds=config.seeds,
        picture=shown_size(config.width, config.height, len(cells)),
    )
    per_model = len(rows) * len(config.seeds)

    def picture(row: int, column: int, seed: int) -> Image.Image:
        return Image.open(out / cells[column * per_model + row * len(config.seeds) + seed].image)

    with atomic_path(out / "grid.png") as part:
        contact_sheet(sheet, picture).save(part, format="PNG")


def _note(config: GridConfig) -> str:
    parts = [
        config.sampler,
        f"{config.steps} steps",
        f"CFG {number(config.cfg)}",
        f"{config.width} × {config.height}",
        *([f"not: {config.negative}"] if config.negative else []),
    ]
    return "  ·  ".join(parts)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
