"""A table in plain text."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], align: str) -> str:
    """Lay out rows of cells under a heading and a rule; `align` has < or > for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map("{:{}{}}".format, row, align, widths)) for row in rows]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])
