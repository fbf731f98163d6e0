"""A contact sheet: a row per prompt, a column per model, the seeds side by side inside."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, RULE = "#fbfaf7", "#23262d", "#7d828b", "#e6e2da"
MARGIN, LABEL_WIDTH, HEADER_HEIGHT = 36, 250, 112  # pixels
SEED_GAP, MODEL_GAP, ROW_GAP = 5, 26, 18
CORNER = 7
WANTED_SIDE, LEAST_SIDE = 160, 48  # of a picture on the sheet
MOST_PIXELS = 40_000_000  # of the sheet
TEXT, SMALL, LARGE = 16, 13, 21  # font sizes

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is written around the pictures, and how large they are shown."""

    heading: str
    note: str
    rows: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # a name, and what is written small under it
    seeds: tuple[int, ...]
    picture: tuple[int, int]  # width, height

    @property
    def block(self) -> int:
        """Return the width of one model's column."""
        return len(self.seeds) * (self.picture[0] + SEED_GAP) - SEED_GAP

    @property
    def size(self) -> tuple[int, int]:
        """Return the width and height of the sheet."""
        width = 2 * MARGIN + LABEL_WIDTH + len(self.columns) * (self.block + MODEL_GAP) - MODEL_GAP
        return width, 2 * MARGIN + HEADER_HEIGHT + len(self.rows) * (self.picture[1] + ROW_GAP) - ROW_GAP

    def x(self, column: int, seed: int = 0) -> int:
        """Return the left edge of a picture."""
        block = MARGIN + LABEL_WIDTH + column * (self.block + MODEL_GAP)
        return block + seed * (self.picture[0] + SEED_GAP)

    def y(self, row: int) -> int:
        """Return the top edge of a row."""
        return MARGIN + HEADER_HEIGHT + row * (self.picture[1] + ROW_GAP)


def shown_size(width: int, height: int, count: int) -> tuple[int, int]:
    """Return the size of each of `count` pictures on a sheet: small ones a whole number of times as large."""
    side = max(LEAST_SIDE, min(WANTED_SIDE, int((MOST_PIXELS / count) ** 0.5)))
    longest = max(width, height)
    scale = max(1, side // longest) if longest <= side else side / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def contact_sheet(sheet: Sheet, picture: Callable[[int, int, int], Image.Image]) -> Image.Image:
    """Return the sheet; `picture` is asked for each (row, column, seed) once."""
    page = Image.new("RGB", sheet.size, PAPER)
    pen = ImageDraw.Draw(page)
    _header(pen, sheet)
    mask = _rounded(sheet.picture)
    for row, label in enumerate(sheet.rows):
        if row:
            pen.line(
                [(MARGIN, sheet.y(row) - ROW_GAP // 2), (sheet.size[0] - MARGIN, sheet.y(row) - ROW_GAP // 2)], RULE
            )
        _label(pen, label, top=sheet.y(row), height=sheet.picture[1])
        for column in range(len(sheet.columns)):
            for seed in range(len(sheet.seeds)):
                shown = picture(row, column, seed).convert("RGB").resize(sheet.picture, Image.Resampling.LANCZOS)
                page.paste(shown, (sheet.x(column, seed), sheet.y(row)), mask)
    return page


def _header(pen: ImageDraw.ImageDraw, sheet: Sheet) -> None:
    right = sheet.size[0] - 2 * MARGIN
    pen.text((MARGIN, MARGIN - 6), _fitted(sheet.heading, LARGE, right), INK, _font(LARGE))
    pen.text((MARGIN, MARGIN + 22), _fitted(sheet.note, SMALL, right), FAINT, _font(SMALL))
    base = MARGIN + HEADER_HEIGHT
    for column, (name, mark) in enumerate(sheet.columns):
        left = sheet.x(column)
        shown = _fitted(name, TEXT, sheet.block)
        pen.text((left, base - 44), shown, INK, _font(TEXT))
        beside = left + int(_font(TEXT).getlength(shown)) + 8
        if beside + _font(SMALL).getlength(mark) <= left + sheet.block:
            pen.text((beside, base - 41), mark, FAINT, _font(SMALL))
        for index, seed in enumerate(sheet.seeds):
            text = _fitted(f"seed {seed}" if sheet.picture[0] >= 80 else str(seed), SMALL, sheet.picture[0])
            pen.text((sheet.x(column, index), base - 22), text, FAINT, _font(SMALL))


def _label(pen: ImageDraw.ImageDraw, text: str, *, top: int, height: int) -> None:
    size = TEXT if height >= 4 * TEXT else SMALL
    spacing = size + 5
    lines = _wrapped(text, size, LABEL_WIDTH - 20)
    fits = max(1, height // spacing)
    if len(lines) > fits:
        lines = [*lines[: fits - 1], _fitted(lines[fits - 1] + " " + lines[fits], size, LABEL_WIDTH - 20)]
    start = top + (height - len(lines) * spacing) // 2
    for index, line in enumerate(lines):
        pen.text((MARGIN, start + index * spacing), line, INK, _font(size))


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_fitted(line, size, width) for line in lines]


def _fitted(text: str, size: int, width: int) -> str:
    text = " ".join(text.split())
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _rounded(size: tuple[int, int]) -> Image.Image:
    scale = 4  # drawn large and shrunk, so that the corners are smooth
    mask = Image.new("L", (size[0] * scale, size[1] * scale), 0)
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, mask.width - 1, mask.height - 1], CORNER * scale, 255)
    return mask.resize(size, Image.Resampling.LANCZOS)
