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
        steps = done.summary.get("updates") if done else None
        steps = _steps(plan, id, counts) if steps is None else steps
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
        done = task.done()
        known = done.summary.get("images" if task.stage.kind == "train" else "posts") if done else None
        counts[id] = known if known is not None else _images(plan, id, counts)
    return counts


def _images(plan: Plan, id: str, counts: Mapping[str, int | None]) -> int | None:
    kind, config = plan.tasks[id].stage.kind, plan.tasks[id].stage.config
    if kind in ("booru", "vae"):
        return int(config.posts if kind == "booru" else config.images)
    if kind == "grid":
        return len(config.models) * len(config.rows()) * len(config.seeds)
    if kind == "train":
        phases = _updates(plan, id, counts)
        return sum(updates * batch for updates, batch in phases) if phases else None
    upstream = (counts[one] for one in _reads(plan, id) if one in counts)
    first = next((count for count in upstream if count is not None), None)
    return first if kind in ("posts", "captions", "latents", "judge") else None


def _steps(plan: Plan, id: str, counts: Mapping[str, int | None]) -> int | None:
    kind, config, count = plan.tasks[id].stage.kind, plan.tasks[id].stage.config, counts[id]
    if kind == "train" and (phases := _updates(plan, id, counts)):
        return sum(updates for updates, _ in phases)
    return int(count * config.steps) if kind == "grid" and count is not None else None


def _updates(plan: Plan, id: str, counts: Mapping[str, int | None]) -> list[tuple[int, int]] | None:
    """Return updates and their batch for each phase, as the training loop counts; None where the data is not known."""
    config: Any = plan.tasks[id].stage.config
    sources = {edge.name: edge.source.stage for edge in plan.graph.edges[id] if edge.field == "latents"}
    posts = {name: _encoded(plan, source, counts) for name, source in sources.items()}
    known = [count for count in posts.values() if count is not None]
    held_out = config.held_out(min(known, default=0))
    found = []
    for phase in config.phases:
        count, batch = posts[phase.latents or config.latents[0]], phase.batch or config.batch
        if not phase.images and count is None:
            return None
        wanted = phase.images or round(phase.epochs * max(0, (count or 0) - held_out))
        found.append((max(1, round(wanted / batch)), batch))
    return found


def _encoded(plan: Plan, source: str, counts: Mapping[str, int | None]) -> int | None:
    """Return the pictures of a latents stage: those that could be encoded, once it is done."""
    done = plan.tasks[source].done() if source else None
    return done.summary["pictures"] if done else counts.get(source)


def _reads(plan: Plan, id: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(edge.source.stage or edge.name for edge in plan.graph.edges[id]))


def _paces(plan: Plan) -> dict[str, float]:
    """Return seconds per picture by kind of stage: the median over the finished runs of this work folder."""
    found: dict[str, list[float]] = {}
    for row in rows(plan.work / "ledger.jsonl"):
        if row["ended"] == "done" and row["images"]:
            found.setdefault(row["id"].partition(".")[0], []).append(row["seconds"] / row["images"])
    return {kind: median(paces) for kind, paces in found.items()}
