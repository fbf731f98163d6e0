"""The report: one self-contained page over every finished stage."""

from enogu.judge.report.stage import run

__all__ = ["run"]
