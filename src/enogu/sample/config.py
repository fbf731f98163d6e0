"""What a grid draws: models x prompts x seeds, under one set of settings."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from enogu.core.records.errors import Refused
from enogu.core.records.reference import Ref
from enogu.sample.attention import attention
from enogu.sample.encoding import Emphasis
from enogu.sample.prompt import words
from enogu.sample.settings import Settings

MOST_BATCH = 64
BATCH_PIXELS = 1 << 20  # as many pictures of 128 x 128; one of 1024 x 1024


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """One row of a grid."""

    text: str  # in A1111's grammar
    tags: tuple[str, ...] = ()  # what it asks for; by default its own words
    negative: str | None = None  # instead of the grid's

    def __post_init__(self) -> None:
        """Refuse a weight that is no number."""
        attention(self.text)
        attention(self.negative or "")

    def asked(self) -> tuple[str, ...]:
        """Return the tags that a picture of this prompt should show."""
        return self.tags or words(self.text)


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """A table [grid.NAME]; every picture has the same noise under every model."""

    models: Annotated[tuple[str, ...], Ref("model")]  # the columns
    prompts: tuple[str | PromptConfig, ...] = ()  # the rows
    prompts_file: str = ""  # more rows, one prompt per line; empty lines and lines that start with # are skipped
    negative: str = ""  # the negative prompt of every prompt that has none of its own
    seeds: tuple[int, ...] = (1, 2, 3)  # pictures of one prompt under one model
    sampler: str = "Euler a"  # Euler a, Euler, Heun, DPM++ 2M
    schedule: str = "Automatic"  # Uniform, Karras, Exponential, SGM Uniform, Simple; Automatic: the sampler's own
    steps: int = 20
    cfg: float = 7.0  # guidance; at 1 the negative prompt has no say
    width: int = 512  # pixels
    height: int = 512  # pixels
    clip_skip: int = 1  # the text encoder's layer counted from its last, which is 1
    emphasis: Emphasis = "No norm"  # how (word:1.2) weighs; "Original" adds A1111's rescaling by a mean near 0
    rng: str = "CPU"  # or NV: where noise comes from, as A1111 names it
    precision: str = "fp32"  # or bf16: the UNet's autocast, several times faster where the hardware has it
    batch: int = 0  # pictures drawn at once; 0: as many as fit in a megapixel, at most 64

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not self.models:
            raise Refused("models is empty: name at least one model")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise Refused(f"seeds = {list(self.seeds)}: give at least one, and none twice")
        if not self.prompts and not self.prompts_file:
            raise Refused("no prompts: give `prompts`, a list, or `prompts_file`, a text file with one per line")
        if self.batch < 0:
            raise Refused(f"batch = {self.batch}: give a positive number, or 0 for as many as fit")
        attention(self.negative)
        for row in self.prompts:
            if isinstance(row, str):
                PromptConfig(text=row)
        self.settings()

    def settings(self) -> Settings:
        """Return what every picture shares."""
        return Settings(**{shared.name: getattr(self, shared.name) for shared in fields(Settings)})

    def rows(self) -> list[PromptConfig]:
        """Return every prompt, those of the file last."""
        lines = _lines(Path(self.prompts_file)) if self.prompts_file else []
        return [PromptConfig(text=row) if isinstance(row, str) else row for row in (*self.prompts, *lines)]

    def pictures_at_once(self) -> int:
        """Return the batch size."""
        return self.batch or max(1, min(MOST_BATCH, BATCH_PIXELS // (self.width * self.height)))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "no text in UTF-8"
        raise Refused(f"prompts_file = {str(path)!r}: {problem}; give a text file, one prompt per line") from None
    lines = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    if not lines:
        raise Refused(f"prompts_file = {str(path)!r}: it holds no prompt")
    return lines
