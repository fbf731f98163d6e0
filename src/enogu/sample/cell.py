"""Pictures as files: each knows what it is drawn from, so that a finished one is never drawn twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from PIL import Image

from enogu.core.networks.checkpoint import load_model
from enogu.core.networks.folder import files_of
from enogu.core.networks.identity import sha256_of
from enogu.sample.draw import draw
from enogu.sample.infotext import Infotext, read_png, write_png
from enogu.sample.settings import Request


@dataclass(frozen=True)
class Cell:
    """One picture: its path below a folder, the model that draws it, and what is asked for."""

    image: str
    model: str
    sha256: str
    request: Request
    row: int = 0  # of its grid

    @property
    def infotext(self) -> Infotext:
        """Return what the picture says of itself."""
        return self.request.infotext(self.model, self.sha256)

    def is_drawn(self, folder: Path) -> bool:
        """Return whether the file is there and was drawn from just this."""
        return read_png(folder / self.image) == str(self.infotext)

    def beside_others(self, folder: Path) -> "Cell":
        """Return this cell under its own name, or counted on from 2 where another picture has it."""
        path = Path(self.image)
        cell, number = self, count(2)
        while (folder / cell.image).exists() and not cell.is_drawn(folder):
            cell = replace(self, image=str(path.with_name(f"{path.stem}-{next(number)}{path.suffix}")))
        return cell


def known_hash(checkpoint: Path) -> str:
    """Return the SHA-256 that UIs know a checkpoint by: of a folder around one file, as stages leave it, the file's."""
    files = files_of(checkpoint)
    alone = len(files) == 1 and files[0].parent == checkpoint
    return sha256_of(files[0] if alone else checkpoint)


def draw_cells(cells: Sequence[Cell], checkpoint: Path, out: Path, *, device: str, at_once: int) -> Iterator[int]:
    """Draw one model's pictures batch by batch; yield how many each batch added."""
    if not cells:
        return
    model = load_model(checkpoint, device=device)
    for start in range(0, len(cells), at_once):
        batch = cells[start : start + at_once]
        pictures = draw(model, [cell.request for cell in batch])
        for cell, picture in zip(batch, pictures, strict=True):
            write_png(out / cell.image, Image.fromarray(picture), cell.infotext)
        yield len(batch)
