"""The page: sections filled into the templates."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from enogu.judge.captions import Reader
from enogu.judge.config import ReportConfig
from enogu.judge.report.data import Picture, latents, posts, sheet, tokens
from enogu.judge.report.environment import environment
from enogu.judge.report.findings import Findings, findings
from enogu.judge.report.folders import Finished, of_kind
from enogu.judge.report.grid import Grid, grid
from enogu.judge.report.lineage import sources, tree
from enogu.judge.report.scales import duration, signed, thousands
from enogu.judge.report.training import training

SHEET_ROWS = 3


def page(config: ReportConfig, stages: Sequence[Finished], reader: Reader) -> str:
    """Return the whole page as HTML."""
    reads = sources(stages)
    found = [findings(stage) for stage in of_kind(stages, "judge")]
    shown = {
        "config": config,
        "stages": stages,
        "seconds": sum(stage.seconds for stage in stages),
        "longest": max([stage.seconds for stage in stages] or [0]) or 1,
        "findings": found,
        "grids": [_grid(config, stage, found=found, reads=reads) for stage in of_kind(stages, "grid")],
        "trainings": [training(stage) for stage in of_kind(stages, "train")],
        "posts": [posts(stage) for stage in of_kind(stages, "posts")],
        "sheet": _sheet(config, stages, reads=reads, reader=reader),
        "latents": [latents(stage) for stage in of_kind(stages, "latents")],
        "tokens": [chart for stage in _learnt_from(stages, reads) for chart in tokens(stage)],
        "merges": of_kind(stages, "merge"),
        "tree": tree(stages, reads),
        "environment": environment(),
    }
    loader = PackageLoader("enogu.judge.report")
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {"duration": duration, "thousands": thousands, "signed": signed}
    return templates.get_template("page.html").render(shown)


def _grid(config: ReportConfig, stage: Finished, *, found: Sequence[Findings], reads: dict[str, list[str]]) -> Grid:
    judges = [one for one in found if stage.id in reads[one.stage.id]]
    if not judges:
        return grid(stage, None, special=("", frozenset()), side=config.picture_side)
    return grid(stage, judges[0].stage.folder, special=judges[0].special, side=config.picture_side)


def _learnt_from(stages: Sequence[Finished], reads: dict[str, list[str]]) -> list[Finished]:
    """Return the captions that a training read, or else all."""
    read = {source for stage in of_kind(stages, "train") for source in reads[stage.id]}
    captions = of_kind(stages, "captions")
    return [stage for stage in captions if stage.id in read] or captions


def _sheet(
    config: ReportConfig, stages: Sequence[Finished], *, reads: dict[str, list[str]], reader: Reader
) -> list[Picture]:
    """Show what the first training read, or else the first posts."""
    written = next(iter(_learnt_from(stages, reads)), None)
    sources = [*of_kind(stages, "posts"), *of_kind(stages, "tagged")]
    read = next((stage for stage in sources if written and stage.id in reads[written.id]), None)
    chosen = read or next(iter(sources), None)
    if not chosen:
        return []
    captions = reader(written.folder, 0) if written and read else None
    return sheet(chosen, captions, count=config.columns * SHEET_ROWS, side=config.picture_side)
