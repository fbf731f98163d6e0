"""What a maker should know before a plan is run, though nothing forbids it."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from enogu.recipe.plan import Plan

WINDOW = "75"  # tokens of CLIP's window between its marks; a longer caption is split or cut


def cautions(plan: Plan) -> list[str]:
    """Return the warnings about a plan, one line each."""
    return [*_programs(plan), *_seen_when_held_out(plan), *_long_captions(plan), *_outgrown(plan), *_left_behind(plan)]


def _programs(plan: Plan) -> Iterator[str]:
    """Programs that a recipe, perhaps somebody else's, would have run."""
    for id, task in plan.tasks.items():
        if task.stage.kind == "nl" and not task.done():
            yield f"{id}: runs the program {shlex.join(task.stage.config.command)}"


def _seen_when_held_out(plan: Plan) -> Iterator[str]:
    """Pictures that a judge takes for held out, though a model it judges was trained on them."""
    for id, edges in plan.graph.edges.items():
        held_out = {edge.source.stage for edge in edges if edge.field == "heldout"}
        judged = [edge.source.stage for edge in edges if edge.field in ("grid", "models") and edge.source.stage]
        for stage in sorted(held_out & plan.graph.behind(judged)):
            yield f"{id}: {stage} is held out here, but models that are judged were trained on it"


def _long_captions(plan: Plan) -> Iterator[str]:
    for id, task in plan.tasks.items():
        done = task.done() if task.stage.kind == "captions" else None
        sets: dict[str, Any] = done.summary["sets"] if done else {}
        for name, figures in sets.items():
            if share := figures["share_over"].get(WINDOW):
                yield f"{id}: {share:.1%} of the captions {name!r} are longer than {WINDOW} tokens"


def _outgrown(plan: Plan) -> Iterator[str]:
    """Folders from outside that got or lost files since a finished stage read them: it goes by their names alone."""
    for id, task in plan.tasks.items():
        if not (done := task.done()):
            continue
        began = datetime.fromisoformat(done.started).timestamp()
        for path in filter(None, (getattr(task.stage.config, name) for name in task.stage.traits.paths)):
            if Path(path).is_dir() and Path(path).stat().st_mtime > began:
                yield f"{id}: files came to {path} or went since it was read; to read it again, remove {task.folder}"


def _left_behind(plan: Plan) -> Iterator[str]:
    """Folders that belong to other settings than these."""
    current = {task.folder.name for task in plan.tasks.values()}
    folders = plan.work.iterdir() if plan.work.exists() else ()
    old = [path for path in folders if path.is_dir() and path.name not in current and not path.name.startswith(".")]
    if old:
        size = sum(file.stat().st_size for path in old for file in path.rglob("*") if file.is_file())
        yield f"{size / 1e6:,.0f} MB lie in folders of other settings (earlier ones, --mini, --set)"
