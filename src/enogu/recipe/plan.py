"""From a recipe to tasks: every stage with its hash, its folder and what it reads."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.hashes import settings_hash
from enogu.core.records.known_hashes import KnownHashes
from enogu.recipe.config import Recipe, Stage
from enogu.recipe.done import Done, read_done
from enogu.recipe.fingerprint import Fingerprints
from enogu.recipe.graph import Edge, Graph, graph
from enogu.recipe.kinds import load
from enogu.recipe.problems import Problems, prefixed
from enogu.recipe.references import Source, settings


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stage, ready to be run or found done."""

    stage: Stage
    hash: str
    folder: Path
    reads: Mapping[str, Mapping[str, str]]  # field: {name: hash}
    settings: Mapping[str, Any]

    def done(self) -> Done | None:
        """Return the record of its finished run, if there is one."""
        return read_done(self.folder, self.hash)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All tasks of a recipe in order, and the work folder they share."""

    graph: Graph
    work: Path
    tasks: Mapping[str, Task]  # by id
    known_hashes: KnownHashes  # of files from outside

    def inputs(self, id: str) -> dict[str, dict[str, Path]]:
        """Return the folder, or the checkpoint file, that each reference of a stage means."""
        found: dict[str, dict[str, Path]] = {}
        for edge in self.graph.edges[id]:
            found.setdefault(edge.field, {})[edge.name] = self.path(edge)
        return found

    def models(self, id: str) -> dict[str, Path] | None:
        """Return the file of every model of a stage, also of those not made yet; nothing if one is an adapter."""
        edges = [edge for edge in self.graph.edges[id] if edge.field == "models"]
        unmade = {edge: self.tasks[edge.source.stage] for edge in edges if edge.source.stage}
        unmade = {edge: upstream for edge, upstream in unmade.items() if not upstream.done()}
        if any(upstream.stage.traits.adapter for upstream in unmade.values()):
            return None  # of which nothing is known yet
        return {
            edge.name: upstream.folder / upstream.stage.traits.model
            if (upstream := unmade.get(edge))
            else self.path(edge)
            for edge in edges
        }

    def path(self, edge: Edge) -> Path:
        """Return the folder, or the checkpoint file, that one reference means."""
        if edge.source.path:
            return Path(edge.source.path)
        upstream = self.tasks[edge.source.stage]
        traits = upstream.stage.traits
        if edge.source.images is not None:
            return _checkpoint(upstream.folder / traits.checkpoints, edge.source.images)
        return upstream.folder / traits.model if edge.model else upstream.folder


def plan(recipe: Recipe, work: Path | None = None) -> Plan:
    """Return what is to be done for a recipe; hashes the files it names, runs nothing."""
    ordered = graph(recipe)
    work = work or recipe.path.parent / "enogu-work" / recipe.header.name
    prints = Fingerprints(work / "hashes.json")
    with prefixed(f"{recipe.path.name}: "):
        hashes = _outside(ordered, prints)
    if work.exists():
        prints.remember()
    tasks: dict[str, Task] = {}
    for id in ordered.order:
        tasks[id] = task = _task(ordered, id, hashes=hashes, work=work)
        hashes[id] = task.hash
    found = Plan(graph=ordered, work=work, tasks=tasks, known_hashes=prints.files)
    with prefixed(f"{recipe.path.name}: "):
        _foresee(found)
    return found


def _foresee(found: Plan) -> None:
    """Refuse what a stage would refuse after hours, where the settings and the files at hand tell."""
    problems = Problems()
    for id, task in found.tasks.items():
        if not task.stage.traits.foresee or task.done() or (models := found.models(id)) is None:
            continue
        with problems.noted(), prefixed(f"{id}: "):
            load(task.stage.traits.foresee)(task.stage.config, models, family=found.graph.recipe.header.family)
    problems.settle()


def _outside(ordered: Graph, prints: Fingerprints) -> dict[str, str]:
    """Return the hash of everything that the stages read from outside the recipe."""
    problems, found, readers = Problems(), dict[str, str](), dict[Source, str]()
    for id in ordered.order:
        stage = ordered.recipe.stages[id]
        for path in filter(None, (getattr(stage.config, name) for name in stage.traits.paths)):
            with problems.noted(), prefixed(f"{id}: "):  # a folder may hold millions of images: its name must do
                folder = os.path.relpath(path, ordered.recipe.path.parent) if Path(path).is_dir() else ""
                found[path] = folder or prints.of(Path(path))
        for source in (edge.source for edge in ordered.edges[id] if edge.source.path):
            readers.setdefault(source, id)
    for source, id in readers.items():
        with problems.noted(), prefixed(f"{id}: "):
            found[source.path] = actual = prints.of(Path(source.path))
            if source.sha256 not in ("", actual):
                raise Refused(f"{source.path}: its sha256 is {actual}, the recipe says {source.sha256}")
    problems.settle()
    return found


def _task(ordered: Graph, id: str, *, hashes: Mapping[str, str], work: Path) -> Task:
    stage, edges = ordered.recipe.stages[id], ordered.edges[id]
    chosen = settings(stage.config)
    contents = {name: hashes[getattr(stage.config, name)] for name in stage.traits.paths if getattr(stage.config, name)}
    reads: dict[str, dict[str, str]] = {}
    for edge in edges:
        images = f"@{edge.source.images}" if edge.source.images is not None else ""
        reads.setdefault(edge.field, {})[edge.name] = hashes[edge.source.stage or edge.source.path] + images
    told = [[edge.field, edge.name if edge.labels else "", reads[edge.field][edge.name]] for edge in edges]
    hash = settings_hash([stage.kind, stage.traits.version, chosen | contents, told])
    folder = work / f"{stage.kind}-{stage.name}-{hash[:8]}"
    return Task(stage=stage, hash=hash, folder=folder, reads=reads, settings=chosen)


def _checkpoint(folder: Path, images: int) -> Path:
    """Return the checkpoint saved after so many images; its name ends with the count."""
    found = ((re.search(r"\d+$", path.stem), path) for path in folder.glob("*.safetensors"))
    kept = {int(count[0]): path for count, path in found if count}
    if images not in kept:
        raise Failed(f"{folder}: no checkpoint after {images} images; there are {', '.join(map(str, sorted(kept)))}")
    return kept[images]
