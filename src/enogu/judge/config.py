"""What to judge, by which tagger, against which held-out drawings; what the report is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from enogu.core.records.errors import Refused
from enogu.core.records.reference import Ref


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Measures of a grid of samples; differences are taken against the grid's first model."""

    grid: Annotated[str, Ref("grid")]  # the samples: model x prompt x seed
    tagger: Annotated[str, Ref("tagger")]  # a tagger stage, or a folder with model.onnx and selected_tags.csv
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # concepts to report together: {name: tags}
    heldout: Annotated[str | None, Ref("posts", "tagged")] = None  # real drawings that give the tagger's ceiling
    heldout_images: int = 1000  # at most so many of them are tagged
    models: Annotated[tuple[str, ...], Ref("model")] = ()  # whose loss by timestep is measured
    latents: Annotated[str | None, Ref("latents")] = None  # held-out latents for that loss
    captions: Annotated[str | None, Ref("captions")] = None  # their captions; without, the loss is unconditional
    caption_set: str = "tags"  # which caption of a post is read
    loss_images: int = 64  # at most so many latents are used
    seed: int = 0  # of the noise, the choice of held-out pictures and the bootstrap

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("heldout_images", "loss_images"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} = {getattr(self, name)} in [judge]: give at least 1")
        if bool(self.models) != bool(self.latents):
            raise Refused("[judge] has one of `models` and `latents`: the loss by timestep needs both, or neither")
        if self.captions and not self.latents:
            raise Refused("[judge] has `captions` but no `latents`: name the held-out latents stage as well")
        for name, tags in self.groups.items():
            if not tags:
                raise Refused(f"groups.{name} in [judge] is empty: list the tags of that group, or leave it out")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """One self-contained page over every finished stage."""

    title: str  # the heading of the page
    note: str = ""  # a paragraph under it, in plain words
    recipe_text: str = ""  # the recipe as its maker wrote it
    columns: int = 8  # pictures in a row of the data sheet
    picture_side: int = 192  # longest side of an embedded picture, in pixels

    def __post_init__(self) -> None:
        """Refuse a page without a name or with pictures too small to see."""
        if not self.title.strip():
            raise Refused("title in [report] is empty: give the page a heading")
        for name, least in (("columns", 1), ("picture_side", 16)):
            if getattr(self, name) < least:
                raise Refused(f"{name} = {getattr(self, name)} in [report]: give at least {least}")
