"""From a file to a checked recipe: `read(path) -> Recipe`."""

import dataclasses
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from enogu.core.records.errors import Refused, unknown
from enogu.recipe.config import HeaderConfig, MachineConfig, ModelConfig, Recipe, Stage, checked_name
from enogu.recipe.kinds import EMBEDDED, KINDS, PACKAGE, Kind, load
from enogu.recipe.layers import Table, overlay, override
from enogu.recipe.parse import build
from enogu.recipe.problems import Problems, prefixed

TABLES = ("recipe", "machine", "models", "mini")  # beside the kinds of stages


def read(path: Path, *, mini: bool = False, settings: Sequence[str] = (), kinds: Mapping[str, Kind] = KINDS) -> Recipe:
    """Return the recipe in a file, in miniature if asked, with KEY=VALUE settings laid over it."""
    text, table = _load(path)
    with prefixed(f"{path.name}: "):
        return _recipe(_layered(table, settings, kinds, mini=mini), kinds, path=path, text=text)


def _layered(table: Table, settings: Sequence[str], kinds: Collection[str], *, mini: bool) -> Table:
    table = dict(table)
    small = table.pop("mini", None)
    if mini and small is None:
        raise Refused("--mini: the recipe has no table [mini]")
    if mini:
        table = overlay(table, small)
    for setting in settings:
        table = override(table, setting, kinds)
    return table


def _load(path: Path) -> tuple[str, Table]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        return text, tomllib.loads(text)
    except FileNotFoundError as error:
        raise Refused(f"{path}: there is no such recipe") from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not a recipe; give a TOML file in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{path.name}: not TOML: {error}") from error


def _recipe(table: Table, kinds: Mapping[str, Kind], *, path: Path, text: str) -> Recipe:
    problems = Problems()
    header, machine = HeaderConfig(name="unread"), MachineConfig()
    models: dict[str, ModelConfig] = {}
    stages: dict[str, Stage] = {}
    settings = {field.name for field in dataclasses.fields(HeaderConfig)}
    for name, value in table.items():
        with problems.noted():
            if name in settings and not isinstance(value, dict):
                raise Refused(f"{name} = {value!r} stands alone; it belongs below [recipe]")
            if name not in kinds and name not in TABLES:
                raise unknown("table", name, [*kinds, *TABLES])
    with problems.noted():
        header = build(HeaderConfig, _table(table, "recipe"), "recipe")
    with problems.noted():
        machine = build(MachineConfig, _table(table, "machine"), "machine")
    with problems.noted():
        models = _models(_table(table, "models"), path.parent)
    with problems.noted():
        inherited = {"seed": header.seed, "family": header.family, "recipe_text": text}
        stages = _stages(table, kinds, inherited=inherited, folder=path.parent)
        _spell_out(stages, models, folder=path.parent)
        _one_model_per_name(models, stages)
    problems.settle()
    if not stages:
        raise Refused("it has no stage; a stage is a table [KIND.NAME], such as [posts.mine]")
    return Recipe(path=path, header=header, machine=machine, models=models, stages=stages)


def _models(table: Table, folder: Path) -> dict[str, ModelConfig]:
    problems, models = Problems(), {}
    for name, value in table.items():
        with problems.noted():
            models[checked_name(name, "models")] = _model(value, f"models.{name}", folder)
    problems.settle()
    return models


def _stages(table: Table, kinds: Mapping[str, Kind], *, inherited: Mapping[str, Any], folder: Path) -> dict[str, Stage]:
    problems, stages = Problems(), {}
    for kind in (kind for kind in table if kind in kinds):
        with problems.noted():
            for name, value in _table(table, kind).items():
                with problems.noted():
                    stages[f"{kind}.{name}"] = _stage(
                        f"{kind}.{name}", kinds[kind], value, inherited=inherited, folder=folder
                    )
    problems.settle()
    return stages


def _table(table: Table, name: str) -> Table:
    value = table.get(name, {})
    if not isinstance(value, dict):
        raise Refused(f"{name}: expected a table, got {value!r}")
    return value


def _model(value: Any, where: str, folder: Path) -> ModelConfig:
    if isinstance(value, str):
        embedded = EMBEDDED["model"]
        if value not in embedded:
            raise Refused(f"{where}: {unknown('embedded model', value, embedded)}; a file is {{ file = {value!r} }}")
        return ModelConfig(file=PACKAGE / embedded[value])
    if not isinstance(value, dict):
        raise Refused(f'{where}: expected {{ file = "..." }} or the name of an embedded model, got {value!r}')
    model = build(ModelConfig, value, where)
    return dataclasses.replace(model, file=folder / model.file.expanduser())


def _stage(id: str, traits: Kind, value: Any, *, inherited: Mapping[str, Any], folder: Path) -> Stage:
    kind, _, name = id.partition(".")
    checked_name(name, kind)
    if not isinstance(value, dict):
        raise Refused(f"{id}: expected a table; stages are named, as in [{kind}.NAME]")
    shape = load(traits.config)
    fields = {field.name for field in dataclasses.fields(shape)}
    defaults = {key: item for key, item in inherited.items() if key in fields}
    config = build(shape, {**defaults, **value}, id)
    anchored = {key: str(folder / Path(path).expanduser()) for key in traits.paths if (path := getattr(config, key))}
    return Stage(kind, name, dataclasses.replace(config, **anchored), traits)


def _spell_out(stages: dict[str, Stage], models: dict[str, ModelConfig], *, folder: Path) -> None:
    """Put the models that match them in place of the patterns that settings hold; files get names among the models."""
    problems = Problems()
    for id, stage in stages.items():
        if (spell := getattr(stage.config, "spelt_out", None)) is None:
            continue
        others = [other.name for other in stages.values() if other.traits.model and other is not stage]
        with problems.noted(), prefixed(f"{id}: "):
            config, files = spell(folder, {**dict.fromkeys(others), **{name: models[name].file for name in models}})
            stages[id] = dataclasses.replace(stage, config=config)
            models |= {name: ModelConfig(file=path) for name, path in files.items()}
    problems.settle()


def _one_model_per_name(models: Mapping[str, ModelConfig], stages: Mapping[str, Stage]) -> None:
    owners: dict[str, str] = {name: f"models.{name}" for name in models}
    for stage in stages.values():
        if stage.traits.model and owners.setdefault(stage.name, stage.id) != stage.id:
            raise Refused(f"duplicate model {stage.name!r}: both {owners[stage.name]} and {stage.id}; rename one")
