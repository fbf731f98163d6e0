"""The kinds of stages: the one table that knows every room. Rooms are imported when a recipe needs them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from enogu.core.records.interrupts import held

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of stage; strings are MODULE:NAME."""

    config: str  # the dataclass of its settings
    run: str  # run(config, job, **lent) -> summary
    version: int = 1  # raised when the same settings write something else; part of the hash
    lends: tuple[tuple[str, str], ...] = ()  # functions of other rooms that `run` is given: (parameter, function)
    model: str = ""  # the checkpoint in its folder, if it makes one
    adapter: bool = False  # whether that is an adapter
    checkpoints: str = ""  # the folder of those that it takes on the way: NAME@IMAGES means one of them
    foresee: str = ""  # foresee(config, models, family): refuse before any work what the files at hand do not allow
    preview: str = ""  # preview(config, models, family, folder, threads, seen): what it would do (recipe/forecast.py)
    reads_all: bool = False  # given every other stage of the recipe
    paths: tuple[str, ...] = ()  # settings that are paths from the recipe; hashed as a file's content, a folder's name


KINDS = MappingProxyType(
    {
        "booru": Kind(config="enogu.mini.config:BooruConfig", run="enogu.mini.stage:run_booru"),
        "posts": Kind(
            config="enogu.posts.config:PostsConfig",
            run="enogu.posts.stage:run",
            version=3,
            paths=("source", "images", "tags", "aliases", "implications", "opt_out"),
        ),
        "sightings": Kind(config="enogu.tagging.config:SightingsConfig", run="enogu.tagging.stage:run_sightings"),
        "tagged": Kind(config="enogu.tagging.config:TaggedConfig", run="enogu.tagging.stage:run_tagged"),
        "nl": Kind(config="enogu.captions.nl.config:NlConfig", run="enogu.captions.nl.stage:run", paths=("folder",)),
        "captions": Kind(
            config="enogu.captions.config:CaptionsConfig",
            run="enogu.captions.stage:run",
            foresee="enogu.captions.compose:foresee",
            version=3,
            paths=("aliases", "implications", "words", "texts"),
        ),
        "latents": Kind(config="enogu.latents.config:LatentsConfig", run="enogu.latents.stage:run"),
        "vae": Kind(config="enogu.mini.config:VaeConfig", run="enogu.mini.stage:run_vae", model="model.safetensors"),
        "text": Kind(
            config="enogu.mini.config:TextConfig",
            run="enogu.mini.stage:run_text",
            lends=(("reader", "enogu.captions.reading:reader"),),
            model="model.safetensors",
        ),
        "tagger": Kind(config="enogu.mini.config:TaggerConfig", run="enogu.mini.stage:run_tagger"),
        "train": Kind(
            config="enogu.train.config:TrainConfig",
            run="enogu.train.stage:run",
            version=2,
            lends=(("plan", "enogu.latents.plan:plan"), ("reader", "enogu.captions.reading:reader")),
            model="model.safetensors",
            checkpoints="checkpoints",
        ),
        "merge": Kind(
            config="enogu.merge.config:MergeConfig",
            run="enogu.merge.stage:run",
            foresee="enogu.merge.preview:foresee",
            preview="enogu.merge.preview:preview_in_recipe",
            version=3,
            model="model.safetensors",
        ),
        "extract": Kind(
            config="enogu.merge.adapters.config:ExtractConfig",
            run="enogu.merge.adapters.stage:run",
            model="model.safetensors",
            adapter=True,
        ),
        "grid": Kind(config="enogu.sample.config:GridConfig", run="enogu.sample.stage:run", paths=("prompts_file",)),
        "judge": Kind(
            config="enogu.judge.config:JudgeConfig",
            run="enogu.judge.stage:run",
            version=2,
            lends=(("reader", "enogu.captions.reading:reader"),),
        ),
        "report": Kind(
            config="enogu.judge.config:ReportConfig",
            run="enogu.judge.report.stage:run",
            lends=(("reader", "enogu.captions.reading:reader"),),
            reads_all=True,
        ),
    }
)

# What this package brings along, by what it can stand for and the name that a recipe uses.
EMBEDDED = MappingProxyType(
    {
        "model": {"mini-sd1": "mini/data/mini-sd1.safetensors"},
        "tagger": {"mini": "mini/data/tagger"},
    }
)


@cache
def load(place: str) -> Any:
    """Return the object at MODULE:NAME."""
    module, _, name = place.partition(":")
    with held():
        return getattr(importlib.import_module(module), name)


def runner(kind: Kind) -> Callable[..., dict[str, Any]]:
    """Return the function that runs a stage of a kind, with what other rooms lend it filled in."""
    lent = {parameter: load(place) for parameter, place in kind.lends}
    run: Callable[..., dict[str, Any]] = load(kind.run)
    return lambda config, job: run(config, job, **lent)
