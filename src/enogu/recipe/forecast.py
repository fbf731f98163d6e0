"""What a plan will cost: pictures per stage from the settings, time per picture from the ledger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any, Final, Protocol

from enogu.recipe.kinds import load
from enogu.recipe.ledger import rows
from enogu.recipe.plan import Plan


class Preview(Protocol):
    """What a stage can tell of its work before it is run, from the files that it will read."""

    @property
    def seconds(self) -> float | None:
        """Return how long it will take, where that can be told."""

    def told(self) -> dict[str, Any]:
        """Return everything for programs."""

    def lines(self, *, keys: bool) -> Iterable[str]:
        """Return what people read, with a line per tensor if asked for."""


Previews = Mapping[str, Preview | None]  # by id; None where a stage reads what is not made yet
UNSEEN: Final[Previews] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One stage of a plan, before it is run."""

    id: str
    state: str  # "done", "begun", "to do"
    reads: tuple[str, ...]
    images: int | None  # how many pictures go through it, where that can be told
    steps: int | None  # updates of a training, or denoising steps of a grid
    seconds: float | None  # taken, when done; expected, where this work folder has run its kind before


def forecast(plan: Plan, seen: Previews = UNSEEN) -> list[Forecast]:
    """Return a forecast per stage, in the order of the plan; what was seen of one is better than earlier runs."""
    counts, paces, found = images(plan), _paces(plan), []
    for id, task in plan.tasks.items():
        done, count, pace = task.done(), counts[id], paces.get(task.stage.kind)
        expected = count * pace if count is not None and pace is not None else None
        if (preview := seen.get(id)) and preview.seconds is not None:
            expected = preview.seconds
        state = "done" if done else "begun" if task.folder.exists() else "to do"
        seconds = done.seconds if done else expected
        steps = _steps(task.stage.kind, task.stage.config, count)
        found.append(Forecast(id=id, state=state, reads=_reads(plan, id), images=count, steps=steps, seconds=seconds))
    return found


def previews(plan: Plan, *, threads: int) -> Previews:
    """Return what every stage that is not done, and that can, tells of its work before it."""
    folder = next(path for path in (plan.work, *plan.work.absolute().parents) if path.is_dir())
    family, found = plan.graph.recipe.header.family, dict[str, Preview | None]()
    for id, task in plan.tasks.items():
        if task.stage.traits.preview and not task.done():
            tell, models = load(task.stage.traits.preview), plan.models(id)
            merges = {
                edge.name: found.get(edge.source.stage) for edge in plan.graph.edges[id] if edge.field == "models"
            }
            seen = {name: preview for name, preview in merges.items() if preview}
            settings = {"family": family, "folder": folder, "threads": threads, "seen": seen}
            found[id] = None if models is None else tell(task.stage.config, models, **settings)
    return found


def images(plan: Plan) -> Mapping[str, int | None]:
    """Return how many pictures go through each stage, at most; None where its settings cannot tell."""
    counts: dict[str, int | None] = {}
    for id, task in plan.tasks.items():
        upstream = [counts[one] for one in _reads(plan, id) if one in counts]
        done = task.done()
        known = done.summary.get("posts") if done else None
        counts[id] = known if known is not None else _images(task.stage.kind, task.stage.config, upstream)
    return counts


def _images(kind: str, config: Any, upstream: list[int | None]) -> int | None:
    if kind in ("booru", "vae"):
        return int(config.posts if kind == "booru" else config.images)
    if kind == "grid":
        return len(config.models) * len(config.rows()) * len(config.seeds)
    first = next((count for count in upstream if count is not None), None)
    if kind == "train":
        told = first is not None or not any(phase.epochs for phase in config.phases)
        return sum(phase.images or round(phase.epochs * (first or 0)) for phase in config.phases) if told else None
    return first if kind in ("posts", "captions", "latents", "judge") else None


def _steps(kind: str, config: Any, count: int | None) -> int | None:
    if count is None or kind not in ("train", "grid"):
        return None
    return int(count * config.steps if kind == "grid" else count // config.batch)


def _reads(plan: Plan, id: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(edge.source.stage or edge.name for edge in plan.graph.edges[id]))


def _paces(plan: Plan) -> dict[str, float]:
    """Return seconds per picture by kind of stage: the median over the finished runs of this work folder."""
    found: dict[str, list[float]] = {}
    for row in rows(plan.work / "ledger.jsonl"):
        if row["ended"] == "done" and row["images"]:
            found.setdefault(row["id"].partition(".")[0], []).append(row["seconds"] / row["images"])
    return {kind: median(paces) for kind, paces in found.items()}
