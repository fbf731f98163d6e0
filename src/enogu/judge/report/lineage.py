"""The lineage: stages as a graph from left to right, each behind what it reads (Sugiyama et al. 1981, in short)."""

from collections.abc import Mapping, Sequence, Set
from itertools import pairwise

from markupsafe import Markup

from enogu.judge.report.folders import Finished
from enogu.judge.report.svg import drawing, element, text

WIDE, HIGH, ACROSS, DOWN = 120.0, 44.0, 36.0, 14.0
LANE = 10.0  # height that lines passing through a column take there
SWEEPS = 8  # of the barycentre heuristic; small graphs settle in two or three
PAINTS = {"booru": 3, "posts": 3, "captions": 6, "latents": 4, "train": 1, "merge": 2, "grid": 0, "judge": 5}

Graph = Mapping[str, Sequence[str]]
Chain = tuple[str, ...]  # from a source to its reader, through the source's lane in every column between
Place = tuple[float, float]


def sources(stages: Sequence[Finished]) -> dict[str, list[str]]:
    """Return what each stage reads: ids of stages, and the plain names of files from outside."""
    by_hash = {stage.hash: stage.id for stage in stages}
    by_name = {(stage.hash, stage.name): stage.id for stage in stages}

    def found(name: str, written: str) -> str:
        upstream = written.partition("@")[0]
        return by_name.get((upstream, name)) or by_hash.get(upstream) or name.rpartition("/")[2]

    return {
        stage.id: list(dict.fromkeys(found(*item) for field in stage.inputs.values() for item in field.items()))
        for stage in stages
    }


def layers(reads: Graph) -> tuple[list[list[str]], list[Chain]]:
    """Return the nodes column by column, each behind all it reads and with few crossings; and the lines between."""
    depth: dict[str, int] = {}

    def of(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((of(source) for source in reads.get(node, ())), default=-1)
        return depth[node]

    nodes = list(dict.fromkeys([*(source for above in reads.values() for source in above), *reads]))
    table: list[list[str]] = [[] for _ in range(1 + max(map(of, nodes), default=-1))]
    for node in nodes:
        table[depth[node]].append(node)
    chains: list[Chain] = []
    for node, above in reads.items():
        for source in above:
            lanes = {column: f"{source} @{column}" for column in range(depth[source] + 1, depth[node])}
            for column, lane in lanes.items():
                if lane not in table[column]:
                    table[column].append(lane)
            chains.append((source, *lanes.values(), node))
    return _uncrossed(table, chains), chains


def tree(stages: Sequence[Finished], reads: Graph) -> Markup:
    """Draw the graph: kind, name and hash of every stage, a curve for everything that is read."""
    table, chains = layers(reads)
    nodes = {source for above in reads.values() for source in above} | reads.keys()
    places, height = _places(table, nodes)
    known = {stage.id: stage for stage in stages}
    curves = [_curve([places[stop] for stop in chain]) for chain in chains]
    boxes = [_box(node, known.get(node), at=place) for node, place in places.items() if node in nodes]
    told = "; ".join(f"{node} reads {', '.join(above)}" for node, above in reads.items() if above)
    width = len(table) * (WIDE + ACROSS) - ACROSS + 4
    return drawing([*curves, *boxes], width=width, height=height, label=f"lineage: {told}")


def _uncrossed(table: list[list[str]], chains: Sequence[Chain]) -> list[list[str]]:
    links: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            links.setdefault(one, []).append(other)
            links.setdefault(other, []).append(one)
    for _ in range(SWEEPS):
        place = {node: row - (len(nodes) - 1) / 2 for nodes in table for row, node in enumerate(nodes)}
        middle = {node: sum(map(place.__getitem__, near)) / len(near) for node, near in links.items()}
        for nodes in table:
            nodes.sort(key=lambda node, by=middle | place, near=middle: near.get(node, by[node]))  # type: ignore[misc]
    return table


def _places(table: Sequence[Sequence[str]], nodes: Set[str]) -> tuple[dict[str, Place], float]:
    """Return the left end and vertical middle of everything, columns centred, and the height of it all."""
    sizes = [[HIGH if node in nodes else LANE for node in column] for column in table]
    tallest = max((sum(column) + DOWN * (len(column) - 1) for column in sizes), default=0.0)
    places = {}
    for number, column in enumerate(table):
        y = 2 + (tallest - sum(sizes[number]) - DOWN * (len(column) - 1)) / 2
        for node, size in zip(column, sizes[number], strict=True):
            places[node] = (2 + number * (WIDE + ACROSS), y + size / 2)
            y += size + DOWN
    return places, tallest + 4


def _curve(stops: Sequence[Place]) -> Markup:
    parts = [f"M{stops[0][0] + WIDE:g},{stops[0][1]:g}"]
    for (x, y), (to_x, to_y) in pairwise(stops):
        bend = x + WIDE + ACROSS / 2
        parts.append(f"C{bend:g},{y:g},{bend:g},{to_y:g},{to_x:g},{to_y:g}")
        if (to_x, to_y) != stops[-1]:
            parts.append(f"H{to_x + WIDE:g}")
    return element("path", d="".join(parts), class_="edge")


def _box(node: str, stage: Finished | None, *, at: Place) -> Markup:
    (x, middle), (kind, _, name) = at, node.partition(".")
    y, paint = middle - HIGH / 2, f"p{PAINTS.get(kind, 7)}"
    parts = [
        element("rect", x=x, y=y, width=WIDE, height=HIGH, rx=7, class_="node"),
        element("rect", x=x, y=y + 7, width=3.5, height=HIGH - 14, rx=1.75, class_=f"fill {paint}"),
        text(kind if stage else "given", x + 13, y + 17, class_="kind"),
        text(name if stage else node, x + 13, y + 34, class_="stage"),
    ]
    if stage:
        parts.insert(0, element("title", f"{node}, settings {stage.hash}"))
        parts.append(text(stage.hash[:8], x + WIDE - 8, y + 17, anchor="end", class_="hash"))
    return element("g", *parts)
