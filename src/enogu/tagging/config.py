"""Which models look at which posts, and how what they see becomes tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.reference import Ref

ENSEMBLES = ("union", "vote", "mean", "max")
TAGS_FROM = ("models", "both")
RATINGS_FROM = ("site", "safer")


@dataclass(frozen=True, kw_only=True)
class SightingsConfig:
    """What taggers and scorers see in the pictures of a manifest: the slow part, done once."""

    posts: Annotated[str, Ref("posts", "tagged")]
    taggers: Annotated[tuple[str, ...], Ref("tagger")] = ()  # stages, or folders with model.onnx and its labels
    scorers: Annotated[
        tuple[str, ...], Ref("scorer")
    ] = ()  # folders with model.onnx, or with encoder.onnx and head.safetensors
    floor: float = 0.02  # probabilities below it are not kept
    batch: int = 8  # pictures at once: more only cost memory on a CPU

    def __post_init__(self) -> None:
        """Refuse to look with nothing."""
        if not self.taggers and not self.scorers:
            raise Refused("[sightings] names neither taggers nor scorers: give at least one of them")
        if not 0 <= self.floor < 1:
            raise Refused(f"floor = {self.floor} in [sightings]: a probability from 0 up to, not including, 1")
        if self.batch < 1:
            raise Refused(f"batch = {self.batch} in [sightings]: give at least 1")


@dataclass(frozen=True, kw_only=True)
class TaggedConfig:
    """Posts with the tags that models see; cheap, so thresholds are found by trying."""

    sightings: Annotated[str, Ref("sightings")]
    posts: Annotated[str, Ref("posts", "tagged")]
    taggers: tuple[str, ...] = ()  # those of the sightings that are asked; empty: all
    tags: str = "both"  # "models": the site's tags are left out; "both": united with them
    ensemble: str = "union"  # how several taggers agree: union, vote, mean, max
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by kind; without, each tagger's own
    mcut: tuple[str, ...] = ()  # kinds whose threshold is found picture by picture (Largeron et al. 2012)
    most: int = 0  # tags of a picture from models, the likeliest first; 0: all. A short caption set says 10 or so
    overlaps: bool = False  # keep `hat` beside `witch_hat`
    rating: str = "site"  # "safer": where a tagger sees a less safe rating than the site says, that one counts
    rating_threshold: float = 0.5  # from which a tagger's rating is heard
    aesthetic: str = ""  # the scorer whose percentile becomes the posts' aesthetic value, 0 to 1
    level: str = ""  # compare aesthetic scores within equal values of this column, for example "rating"

    def __post_init__(self) -> None:
        """Refuse unknown ways."""
        for name, allowed in (("tags", TAGS_FROM), ("ensemble", ENSEMBLES), ("rating", RATINGS_FROM)):
            if getattr(self, name) not in allowed:
                raise unknown(f"{name} in [tagged]", getattr(self, name), allowed)
        for kind, value in (*self.thresholds.items(), ("rating", self.rating_threshold)):
            if not 0 < value < 1:
                raise Refused(f"threshold of {kind} = {value} in [tagged]: a probability between 0 and 1")
        if self.most < 0:
            raise Refused(f"most = {self.most} in [tagged]: a number of tags, or 0 for all")
