"""Which posts to read and which of them to choose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.posts import RATINGS, SCHEMA
from enogu.core.records.reference import Ref
from enogu.posts.paths import check_template
from enogu.posts.query_syntax import parse


@dataclass(frozen=True, kw_only=True)
class Where:
    """The query. What is left out is not asked, except the gates: general rating, not deleted, not banned."""

    rating: tuple[str, ...] = ("general",)  # of general, sensitive, questionable, explicit, unknown
    score_min: int | None = None  # both ends included; a post without a score fails
    score_max: int | None = None
    year: tuple[int, int] | None = None  # first and last year, both included
    tags_all: tuple[str, ...] = ()  # every one must be there; * stands for anything, as in *_hair
    tags_any: tuple[str, ...] = ()  # at least one
    tags_none: tuple[str, ...] = ()  # not one
    min_side: int = 16  # pixels of the shorter side
    max_pixels: int = 64_000_000  # width times height
    animated: bool = False  # True takes the first frame of animations
    deleted: bool = False  # True lets deleted posts in
    banned: bool = False  # True lets banned posts in
    query: str = ""  # danbooru's search words, as "1girl -comic (cat_ears or fox_ears) score:>=10 date:2018..2022"
    caps: Mapping[str, int] = field(default_factory=dict)  # { artist = 5000 }: at most so many of each; or of one tag
    part: tuple[float, float] = (0.0, 1.0)  # a seeded share, as [0.9, 1.0] held out from [0.0, 0.9]
    sample: int | None = None  # at most so many posts, drawn by the seed
    distinct: int | None = None  # of pictures within so many of 64 bits (3 is safe for millions) keep the best score

    def __post_init__(self) -> None:
        """Refuse what can choose nothing."""
        for rating in self.rating:
            if rating == "s":
                raise Refused("rating 's' in where.rating: it means safe or sensitive, by site; write the word")
            if rating not in RATINGS:
                raise unknown("rating in where.rating", rating, RATINGS)
        _ordered("score_min, score_max", self.score_min, self.score_max)
        if self.year is not None:
            _ordered("year", *self.year)
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise Refused(f"where.part = {list(self.part)}: give two shares from 0 to 1, the lower first")
        parse(self.query)
        for name, most in self.caps.items():
            if most < 1:
                raise Refused(
                    f"where.caps.{name} = {most}: give at least 1; to leave a tag out say -{name} in where.query"
                )
        if self.distinct is not None and not 0 <= self.distinct <= 16:
            raise Refused(f"where.distinct = {self.distinct}: give 0 to 16 of 64 bits, or leave it out")
        if self.sample is not None and self.sample < 1:
            raise Refused(f"where.sample = {self.sample}: give at least 1, or leave it out for all")


@dataclass(frozen=True, kw_only=True)
class PostsConfig:
    """One source of posts and the query over it."""

    source: str = ""  # a file or folder the maker already holds; nothing is ever downloaded
    booru: Annotated[str | None, Ref("booru")] = None  # instead of a source: a drawn booru
    format: str = "auto"  # a name of sources.py, as danbooru-sqlite; auto looks into the file
    images: str = ""  # the folder that image paths start from; empty: the folder of the source
    file: str = "{id}.{file_ext}"  # an image's path where the source names none (paths.py); may lead into a tar
    ratings: str = ""  # what rating letters mean (ratings.toml); empty: as the format has it today
    tags: str = ""  # a dump of tags with their categories, where the source names tags alone; empty: beside it
    columns: Mapping[str, str] = field(default_factory=dict)  # for Parquet of any shape: our column = "theirs"
    aliases: str = ""  # a table of tag aliases (CSV, Parquet, JSON; danbooru's, e621's, tagcomplete's): a query for one
    # name finds the other
    implications: str = ""  # a table of tag implications: a query for cat_ears finds what implies cat_ears
    opt_out: str = ""  # a file of posts to leave out for good: lines of an id, or of a site and an id
    where: Where = field(default_factory=Where)
    seed: int = 0  # of `part` and `sample`

    def __post_init__(self) -> None:
        """Refuse no source, and two, and a path that cannot be filled."""
        if bool(self.source) == bool(self.booru):
            raise Refused("[posts] needs exactly one of `source` (a path) and `booru` (a stage that draws one)")
        check_template(self.file)
        for name in self.columns:
            if name not in SCHEMA:
                raise unknown("column in posts.columns", name, SCHEMA)


def _ordered(name: str, low: int | None, high: int | None) -> None:
    if low is not None and high is not None and low > high:
        raise Refused(f"where.{name} = {low}, {high}: the lower end comes first")
