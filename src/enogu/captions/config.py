"""What captions say, in which order, and what is left to chance when they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.reference import Ref

GROUPS = ("count", "character", "copyright", "artist", "general", "meta", "quality", "aesthetic", "rating", "year")
MARK = "|||"
ORDER = ("count", "character", "copyright", "artist", MARK, "general", "meta", "quality", "aesthetic", "rating", "year")
PRIORITY = ("count", "character", "artist", "quality", "rating", "general")


@dataclass(frozen=True, kw_only=True)
class CaptionSet:
    """One of the captions that a post has."""

    order: tuple[str, ...] = ()  # as in [captions]; empty: the order given there
    limit: int = 0  # at most so many words (a tag is one word); 0: all
    priority: tuple[str, ...] = PRIORITY  # groups that are kept first under a limit; within a group chance decides

    def __post_init__(self) -> None:
        """Refuse unknown groups."""
        _known(self.order, (*GROUPS, MARK), "order")
        _known(self.priority, GROUPS, "priority")
        if self.limit < 0:
            raise Refused(f"limit = {self.limit}: give 0 for all words, or how many")


def both_lengths() -> dict[str, CaptionSet]:
    """Return the default sets: every tag, and at most ten (Myne Factory's last phase)."""
    return {"tags": CaptionSet(), "short": CaptionSet(limit=10)}


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig:
    """Captions of the posts of one manifest."""

    posts: Annotated[str, Ref("posts")]
    order: tuple[str, ...] = ORDER  # groups; ||| marks where shuffling starts and, a second time, where it ends
    shuffle_after: str = MARK  # the entry of `order` after which words are shuffled; empty: never
    sets: Mapping[str, CaptionSet] = field(default_factory=both_lengths)  # captions by name
    quality: str = "kohaku"  # a table of words.toml; empty: none
    aesthetic: str = ""  # a table of words.toml; empty: none
    rating: str = "kohaku"  # a table of words.toml; empty: none
    year: str = "fifths"  # a table of words.toml; empty: none
    year_number: bool = True  # also "year 2019"
    drop: tuple[str, ...] = ()  # tags that are never said; * stands for anything
    drop_noise: bool = True  # leave out meta tags about the upload (tags.toml)
    drop_caption: float = 0.1  # the share of reads that give an empty caption
    drop_tags: float = 0.0  # the share of words left out at each read
    drop_varied: bool = False  # each read draws its own share, from 0 to drop_tags
    never_drop: tuple[str, ...] = ("count", "rating")  # groups that drop_tags spares
    seed: int = 0  # of the preview; training reads with its own seed

    def __post_init__(self) -> None:
        """Refuse what no caption can follow."""
        _known(self.order, (*GROUPS, MARK), "order")
        _known(self.never_drop, GROUPS, "never_drop")
        if repeated := {name for name in self.order if self.order.count(name) > (2 if name == MARK else 1)}:
            raise Refused(f"order says {', '.join(sorted(repeated))} too often: a group once, {MARK} at most twice")
        for name in ("drop_caption", "drop_tags"):
            if not 0 <= getattr(self, name) < 1:
                raise Refused(f"{name} = {getattr(self, name)}: give a share from 0 to below 1")
        if not self.sets:
            raise Refused("sets is empty: name at least one caption set, as in sets = { tags = {} }")
        for name, one in self.sets.items():
            if self.shuffle_after and self.shuffle_after not in (one.order or self.order):
                raise Refused(f"shuffle_after = {self.shuffle_after!r} is not in the order of the set {name!r}")


def _known(names: tuple[str, ...], known: tuple[str, ...], field_name: str) -> None:
    for name in names:
        if name not in known:
            raise unknown(f"group in {field_name}", name, known)
