"""The lineage: stages as a graph from left to right, each behind what it reads (Sugiyama et al. 1981, in short)."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from enogu.judge.report.folders import Finished
from enogu.judge.report.svg import drawing, element, text

WIDE, HIGH, ACROSS, DOWN = 126.0, 44.0, 34.0, 14.0
SWEEPS = 6  # of the barycentre heuristic; small graphs settle in two or three
PAINTS = {"booru": 3, "posts": 3, "captions": 6, "latents": 4, "train": 1, "merge": 2, "grid": 0, "judge": 5}

Graph = Mapping[str, Sequence[str]]


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


def layers(reads: Graph) -> list[list[str]]:
    """Return the nodes column by column: each one column behind the last of what it reads, few crossings."""
    depth: dict[str, int] = {}

    def of(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((of(source) for source in reads.get(node, ())), default=-1)
        return depth[node]

    nodes = list(dict.fromkeys([*(source for above in reads.values() for source in above), *reads]))
    table: list[list[str]] = [[] for _ in range(1 + max(map(of, nodes), default=-1))]
    for node in nodes:
        table[of(node)].append(node)
    return _uncrossed(table, reads)


def tree(stages: Sequence[Finished], reads: Graph) -> Markup:
    """Draw the graph: kind, name and hash of every stage, a curve for everything that is read."""
    known, table = {stage.id: stage for stage in stages}, layers(reads)
    tallest = max(map(len, table), default=0)
    height = tallest * (HIGH + DOWN) - DOWN + 4
    places = {
        node: (2 + column * (WIDE + ACROSS), 2 + (row + (tallest - len(nodes)) / 2) * (HIGH + DOWN))
        for column, nodes in enumerate(table)
        for row, node in enumerate(nodes)
    }
    curves = [_curve(places[source], places[node]) for node, above in reads.items() for source in above]
    boxes = [_box(node, known.get(node), at=place) for node, place in places.items()]
    told = "; ".join(f"{node} reads {', '.join(above)}" for node, above in reads.items() if above)
    width = len(table) * (WIDE + ACROSS) - ACROSS + 4
    return drawing([*curves, *boxes], width=width, height=height, label=f"lineage: {told}")


def _uncrossed(table: list[list[str]], reads: Graph) -> list[list[str]]:
    links: dict[str, list[str]] = {}
    for node, above in reads.items():
        for source in above:
            links.setdefault(node, []).append(source)
            links.setdefault(source, []).append(node)
    for _ in range(SWEEPS):
        place = {node: row - (len(nodes) - 1) / 2 for nodes in table for row, node in enumerate(nodes)}
        for nodes in table:
            middle = {
                node: sum(place[n] for n in links.get(node, [node])) / len(links.get(node, [node])) for node in nodes
            }
            nodes.sort(key=lambda node, middle=middle: middle[node])  # type: ignore[misc]
    return table


def _curve(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    (x, y), (to_x, to_y) = (start[0] + WIDE, start[1] + HIGH / 2), (end[0], end[1] + HIGH / 2)
    bend = (to_x - x) / 2
    return element(
        "path", d=f"M{x:g},{y:g}C{x + bend:g},{y:g},{to_x - bend:g},{to_y:g},{to_x:g},{to_y:g}", class_="edge"
    )


def _box(node: str, stage: Finished | None, *, at: tuple[float, float]) -> Markup:
    (x, y), (kind, _, name) = at, node.partition(".")
    paint = f"p{PAINTS.get(kind, 7)}"
    parts = [
        element("rect", x=x, y=y, width=WIDE, height=HIGH, rx=7, class_="node"),
        element("rect", x=x, y=y + 7, width=3.5, height=HIGH - 14, rx=1.75, class_=f"fill {paint}"),
        text(kind if stage else "given", x + 13, y + 17, class_="kind"),
        text(name or node, x + 13, y + 34, class_="stage"),
    ]
    if stage:
        parts.insert(0, element("title", f"{node}, settings {stage.hash}"))
        parts.append(text(stage.hash[:7], x + WIDE - 8, y + 17, anchor="end", class_="hash"))
    return element("g", *parts)
