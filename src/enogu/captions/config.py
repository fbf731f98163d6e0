"""What captions say, in which order, and what is left to chance when they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from enogu.captions.rules import Level
from enogu.core.records.errors import Refused, unknown
from enogu.core.records.posts import CATEGORIES
from enogu.core.records.reference import Ref

TAGGED = (*CATEGORIES, "contributor", "lore", "invalid")  # groups that are categories of tags; e621 has the last three
NUMBERED = ("quality", "aesthetic", "rating", "year")  # groups whose words come from a post's numbers
MARK = "|||"
ORDER = ("count", "character", "copyright", "artist", MARK, "general", "meta", "quality", "aesthetic", "rating", "year")
PRIORITY = ("count", "character", "artist", "quality", "rating", "general")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of its own for some tags of a category."""

    tags: tuple[str, ...]  # * stands for anything
    of: str = "general"  # the category that they leave


@dataclass(frozen=True, kw_only=True)
class CaptionSet:
    """One of the captions that a post has. What is not given here is as in [captions]."""

    order: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()  # groups for posts that say nothing in `order`
    limit: int = 0  # at most so many words (a tag is one word); 0: all
    budget: int = 0  # at most so many CLIP tokens, as 75, 150 or 225; 0: any number
    text_budget: int = 0  # at most so many CLIP tokens of sentences, cut at the end of one; 0: all
    priority: tuple[str, ...] = PRIORITY  # groups kept first under a limit or budget; within a group chance decides
    shuffle_after: str | None = None
    shuffle_every: int | None = None
    separator: str | None = None
    drop_caption: float | None = None
    drop_tags: float | None = None
    drop_varied: bool | None = None
    drop_groups: Mapping[str, float] | None = None
    levels: tuple[Level, ...] | None = None
    never_drop: tuple[str, ...] | None = None
    never_drop_tags: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be counted."""
        if self.limit < 0:
            raise Refused(f"limit = {self.limit}: give 0 for all words, or how many")
        for name in ("budget", "text_budget"):
            if getattr(self, name) < 0:
                raise Refused(f"{name} = {getattr(self, name)}: give 0 for any number of tokens, or how many")


def both_lengths() -> dict[str, CaptionSet]:
    """Return the default sets: every tag, and at most ten (Myne Factory's last phase)."""
    return {"tags": CaptionSet(), "short": CaptionSet(limit=10)}


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig:
    """Captions of the posts of one manifest."""

    posts: Annotated[str, Ref("posts", "tagged")]
    order: tuple[str, ...] = ORDER  # groups; ||| marks where shuffling starts and, a second time, where it ends
    shuffle_after: str = MARK  # the entry of `order` after which words are shuffled; empty: never
    sets: Mapping[str, CaptionSet] = field(default_factory=both_lengths)  # captions by name

    # which tags, how they are spelt
    groups: Mapping[str, Group] = field(default_factory=dict)  # groups of your own, as { eyes = { tags = ["*_eyes"] } }
    aliases: str = ""  # a table of tags and what they are called now (CSV, JSON lines, Parquet); empty: none
    implications: str = ""  # a table of tags and what they imply; empty: none
    implied: Literal["drop", "keep", "add"] = "drop"  # tags that another tag of the post implies
    drop: tuple[str, ...] = ()  # tags that are never said; * stands for anything
    drop_noise: bool = True  # leave out meta tags about the upload (data/tags.toml)
    underscores: bool = False  # keep them; otherwise they are spaces, but not in faces like ^_^
    faces: tuple[str, ...] = ()  # further tags whose underscores are no spaces
    escape: bool = False  # write brackets as \( and \), as prompts with weights need them
    separator: str = ", "  # between words

    # words from numbers
    words: str = ""  # a TOML file of tables of your own, in the form of data/words.toml
    quality: str = "kohaku"  # a table of data/words.toml; empty: none
    aesthetic: str = ""  # a table; empty: none
    rating: str = "kohaku"  # a table; empty: none
    year: str = "fifths"  # a table; empty: none
    year_number: bool = True  # also "year 2019"

    # sentences
    nl: Annotated[str | None, Ref("nl")] = None  # a stage that had a program write sentences
    texts: str = ""  # a file of sentences (Parquet, CSV, JSON lines); empty: the posts' own columns
    text_key: str = "id"  # the column by which that file names posts: id, md5 or image
    text_columns: Mapping[str, str] = field(default_factory=lambda: {"text": "caption"})  # {group: column}

    # left to chance
    shuffle_every: int = 1  # epochs between two shuffles
    drop_caption: float = 0.1  # the share of reads that give an empty caption
    levels: tuple[Level, ...] = ()  # shares of reads that keep only some of the words
    drop_tags: float = 0.0  # the share of words left out at each read
    drop_varied: bool = False  # each read draws its own share, from 0 to drop_tags
    drop_groups: Mapping[str, float] = field(default_factory=dict)  # another share for the words of a group
    never_drop: tuple[str, ...] = ("count", "rating")  # groups that dropping spares
    never_drop_tags: tuple[str, ...] = ()  # and tags; * stands for anything
    seed: int = 0  # of the sample that the token report counts; training reads with its own seed

    def __post_init__(self) -> None:
        """Refuse what no caption can follow."""
        if not self.sets:
            raise Refused("sets is empty: name at least one caption set, as in sets = { tags = {} }")
        if self.texts and self.nl:
            raise Refused(f"texts = {self.texts!r} and nl = {self.nl!r} in [captions]: sentences come from one of them")
        given = "texts" if self.texts else "nl"
        if (self.texts or self.nl) and (silent := set(self.text_columns) - set(self.said())):
            raise Refused(
                f"{given} is given, but no order says the group {min(silent)!r}: put it into `order` or a set's"
            )
        for name, group in self.groups.items():
            self._check_own_group(name, group)
        self._check(self, "")
        for name, one in self.sets.items():
            self._check(one, f" of the set {name!r}")
            after = self.shuffle_after if one.shuffle_after is None else one.shuffle_after
            if after and after not in (one.order or self.order):
                raise Refused(f"shuffle_after = {after!r} is not in the order of the set {name!r}")

    def known(self) -> tuple[str, ...]:
        """Return every group that there can be."""
        return tuple(dict.fromkeys(("count", *TAGGED, *NUMBERED, *self.groups, *self.text_columns)))

    def said(self) -> tuple[str, ...]:
        """Return every group that some set says, in the order of the first that says it."""
        orders = [(*(one.order or self.order), *one.fallback) for one in self.sets.values()]
        return tuple(dict.fromkeys(name for order in orders for name in order if name != MARK))

    def _check_own_group(self, name: str, group: Group) -> None:
        if name in ("count", *TAGGED, *NUMBERED, *self.text_columns):
            raise Refused(f"groups.{name}: a group of this name is there already; take another name")
        _known((group.of,), TAGGED, f"groups.{name}.of")

    def _check(self, chosen: "CaptionsConfig | CaptionSet", where: str) -> None:
        _known(chosen.order, (*self.known(), MARK), f"order{where}")
        _once(chosen.order, where)
        for name in ("never_drop", "drop_groups", "priority", "fallback"):
            _known(tuple(getattr(chosen, name, None) or ()), self.known(), f"{name}{where}")
        for name in ("drop_caption", "drop_tags"):
            _share(name + where, getattr(chosen, name))
        for name, share in (chosen.drop_groups or {}).items():
            _share(f"drop_groups.{name}{where}", share, most=1.0)
        if sum(level.share for level in chosen.levels or ()) > 1:
            raise Refused(f"levels{where}: the shares of reads add up to more than 1")
        if chosen.shuffle_every is not None and chosen.shuffle_every < 1:
            raise Refused(f"shuffle_every{where} = {chosen.shuffle_every}: give the number of epochs, 1 or more")


def _once(order: Sequence[str], where: str) -> None:
    if repeated := {name for name in order if order.count(name) > (2 if name == MARK else 1)}:
        raise Refused(f"order{where} says {', '.join(sorted(repeated))} too often: a group once, {MARK} at most twice")


def _share(name: str, share: float | None, *, most: float = 0.0) -> None:
    if share is not None and not 0 <= share < 1 and share != most:
        raise Refused(f"{name} = {share}: give a share from 0 to below 1")


def _known(names: tuple[str, ...], known: tuple[str, ...], field_name: str) -> None:
    for name in names:
        if name not in known:
            raise unknown(f"group in {field_name}", name, known)
