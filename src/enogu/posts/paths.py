"""Where an image lies when its source does not say: a template such as {id}.{file_ext} filled for every post.

It may lead into a tar: cheesechaser keeps post 114514 at images/4/0514.tar, so its template is
images/{id//1000%10}/0{id%1000:03}.tar/{id}.{file_ext}
"""

import re
from functools import reduce
from string import Formatter

import polars as pl

from enogu.core.records.errors import Refused, unknown

FIELDS = ("id", "md5", "file_ext")
FIELD = re.compile(r"(\w+)((?://[1-9]\d*)?(?:%[1-9]\d*)?)")
SPEC = re.compile(r"0(?P<zeros>\d+)|\.(?P<head>\d+)|")  # pad with zeros; keep the first letters
WITHHELD = pl.col("md5").is_null()  # a site that hides a post hides its md5


def check_template(template: str) -> None:
    """Refuse a template that cannot be filled."""
    _parts(template)


def image_path(template: str) -> pl.Expr:
    """Return the path of each post's image; a post that its site withholds gets none."""
    return pl.when(~WITHHELD).then(pl.concat_str(_parts(template)))


def _parts(template: str) -> list[pl.Expr]:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise Refused(f"posts.file = {template!r}: {error}; write it as {{id}}.{{file_ext}}") from error
    parts: list[pl.Expr] = []
    for text, field, spec, _ in pieces:
        parts += [pl.lit(text)] if text else []
        parts += [_value(field, spec or "", template)] if field is not None else []
    if not parts:
        raise Refused("posts.file is empty; write it as {id}.{file_ext}, or leave it out")
    return parts


def _value(field: str, spec: str, template: str) -> pl.Expr:
    found, how = FIELD.fullmatch(field), SPEC.fullmatch(spec)
    name = re.split(r"\W", field)[0]
    if name not in FIELDS:
        raise unknown("field in posts.file", name, FIELDS)
    if found is None or how is None or (found[2] and name != "id"):
        raise Refused(
            f"posts.file = {template!r}: {{{field}:{spec}}} is not understood; "
            "there are {id//1000}, {id%1000:04}, {md5:.2} and their like"
        )
    value = reduce(_reckoned, re.findall(r"(//|%)(\d+)", found[2]), pl.col(name)).cast(pl.String)
    if how["zeros"]:
        return value.str.zfill(int(how["zeros"]))
    return value.str.head(int(how["head"])) if how["head"] else value


def _reckoned(value: pl.Expr, step: tuple[str, str]) -> pl.Expr:
    return value // int(step[1]) if step[0] == "//" else value % int(step[1])
