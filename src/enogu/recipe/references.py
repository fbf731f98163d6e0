"""Which stages a stage reads: found in the annotations of its settings, resolved in the recipe."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.reference import Ref
from enogu.recipe.config import Recipe, Stage
from enogu.recipe.kinds import EMBEDDED, PACKAGE

MODEL = "model"


@dataclass(frozen=True)
class Reference:
    """A name that a field of a stage gives, and the kinds of stages it may mean."""

    field: str
    name: str
    kinds: tuple[str, ...]
    labels: bool = False  # one of several: the stage's output shows the name, so that it belongs in the hash


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a reference means: a stage (or one of its checkpoints), or a file or folder from outside."""

    stage: str = ""  # KIND.NAME
    images: int | None = None  # the checkpoint taken after so many images
    path: str = ""
    sha256: str = ""  # what the recipe expects of the file


def references(config: Any) -> list[Reference]:
    """Return the references of a config and of the configs inside it."""
    names: Iterable[str] = getattr(config, "model_names", tuple)()
    return [*_annotated(config), *(Reference("models", name, (MODEL,), labels=True) for name in names)]


def settings(config: Any) -> dict[str, Any]:
    """Return a config as plain values, without the names of what it reads unless its output shows them."""
    hints = get_type_hints(type(config), include_extras=True)
    values = {name: getattr(config, name) for name in hints}
    return {
        name: _plain(value)
        for name, value in values.items()
        if isinstance(value, tuple) or not _kinds_named(hints[name])
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return settings(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _annotated(config: Any) -> Iterator[Reference]:
    for field, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, field)
        items = value if isinstance(value, tuple) else (value,)
        if kinds := _kinds_named(hint):
            yield from (Reference(field, name, kinds, labels=items is value) for name in items if name is not None)
        for item in items:
            if dataclasses.is_dataclass(item):
                yield from _annotated(item)


def _kinds_named(hint: Any) -> tuple[str, ...]:
    marks = get_args(hint) if get_origin(hint) is Annotated else ()
    return tuple(kind for mark in marks if isinstance(mark, Ref) for kind in mark.kinds)


def resolve(recipe: Recipe, reference: Reference) -> Source:
    """Return what a reference means, or refuse it with the nearest name."""
    name, at, images = reference.name.partition("@") if MODEL in reference.kinds else (reference.name, "", "")
    if at and not images.isdecimal():
        raise Refused(f"{reference.name!r}: write a checkpoint as NAME@IMAGES, for example {name}@12800")
    found = [stage.id for stage in recipe.stages.values() if stage.name == name and _fits(stage, reference)]
    if len(found) > 1:
        raise Refused(f"{name!r} means both {' and '.join(found)}; rename one")
    if at and (name in recipe.models or any(not recipe.stages[id].traits.checkpoints for id in found)):
        raise Refused(f"{reference.name!r}: {name} keeps no checkpoints on the way; say {name!r}")
    if found:
        return Source(stage=found[0], images=int(images) if at else None)
    if MODEL in reference.kinds and name in recipe.models:
        return Source(path=str(recipe.models[name].file), sha256=recipe.models[name].sha256)
    if outside := _outside(recipe, reference):
        return Source(path=outside)
    raise _missing(recipe, reference, name)


def _fits(stage: Stage, reference: Reference) -> bool:
    return stage.kind in reference.kinds or (MODEL in reference.kinds and bool(stage.traits.model))


def _outside(recipe: Recipe, reference: Reference) -> str:
    for kind in reference.kinds:
        if file := EMBEDDED.get(kind, {}).get(reference.name):
            return str(PACKAGE / file)
    return str(recipe.path.parent / reference.name) if "/" in reference.name else ""


def _missing(recipe: Recipe, reference: Reference, name: str) -> Refused:
    spoken = " or ".join(kind if kind == MODEL else f"{kind} stage" for kind in reference.kinds)
    if other := [stage.id for stage in recipe.stages.values() if stage.name == name]:
        return Refused(f"{name!r} is the stage {other[0]}; expected a {spoken}")
    known = [stage.name for stage in recipe.stages.values() if _fits(stage, reference)]
    known += recipe.models if MODEL in reference.kinds else []
    known += [embedded for kind in reference.kinds for embedded in EMBEDDED.get(kind, ())]
    return unknown(spoken, name, known)
