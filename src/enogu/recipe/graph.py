"""The recipe as a graph: `graph(recipe)` orders the stages, each after what it reads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from enogu.core.records.errors import Refused, unknown
from enogu.recipe.config import Recipe, Stage
from enogu.recipe.problems import Problems, prefixed
from enogu.recipe.references import MODEL, Source, references, resolve


@dataclass(frozen=True)
class Edge:
    """One thing that a stage reads: the field that refers to it, the name it uses, what that means."""

    field: str
    name: str
    source: Source
    labels: bool = True  # the name shows in what the stage writes
    model: bool = False  # a checkpoint file is wanted, not a folder


@dataclass(frozen=True)
class Graph:
    """The stages of a recipe in an order in which they can be run, and what each reads."""

    recipe: Recipe
    order: tuple[str, ...]  # ids
    edges: Mapping[str, tuple[Edge, ...]]

    def find(self, name: str) -> str:
        """Return the id that KIND.NAME, or NAME where only one stage has it, means."""
        found = [id for id in self.order if name in (id, self.recipe.stages[id].name)]
        if len(found) > 1:
            raise Refused(f"the stage {name!r} may be {' or '.join(found)}: say which")
        if not found:
            raise unknown("stage", name, self.order)
        return found[0]

    def behind(self, ids: Iterable[str]) -> set[str]:
        """Return all that these stages stand on, themselves among them."""
        return set(self.needed(ids, lambda id: False))

    def needed(self, ids: Iterable[str], finished: Callable[[str], bool]) -> tuple[str, ...]:
        """Return, in order, the stages that must be run to have these; what stands behind a finished one is not."""
        waiting, keep = [id for id in ids if not finished(id)], set[str]()
        while waiting:
            keep.add(here := waiting.pop())
            reads = {edge.source.stage for edge in self.edges[here]} - {"", *keep}
            waiting += [id for id in reads if not finished(id)]
        return tuple(id for id in self.order if id in keep)


def graph(recipe: Recipe) -> Graph:
    """Return the graph of a recipe, or refuse cycles and every reference that leads nowhere."""
    problems, edges = Problems(), {}
    with prefixed(f"{recipe.path.name}: "):
        for stage in recipe.stages.values():
            with problems.noted():
                edges[stage.id] = _edges(recipe, stage)
        problems.settle()
        return Graph(recipe, _ordered(edges), edges)


def _edges(recipe: Recipe, stage: Stage) -> tuple[Edge, ...]:
    if stage.traits.reads_all:
        others = (other for other in recipe.stages.values() if not other.traits.reads_all)
        return tuple(Edge("stages", other.id, Source(stage=other.id)) for other in others)
    problems, found = Problems(), []
    for reference in references(stage.config):
        with problems.noted(), prefixed(f"{stage.id}.{reference.field}: "):
            source, model = resolve(recipe, reference), MODEL in reference.kinds
            found.append(Edge(reference.field, reference.name, source, labels=reference.labels, model=model))
    problems.settle()
    return tuple(found)


def _ordered(edges: Mapping[str, Iterable[Edge]]) -> tuple[str, ...]:
    above = {id: [edge.source.stage for edge in found if edge.source.stage] for id, found in edges.items()}
    try:
        return tuple(TopologicalSorter(above).static_order())
    except CycleError as error:
        ring = " -> ".join(reversed(error.args[1]))
        raise Refused(f"the stages read each other in a circle: {ring}") from error
