"""What a merge will do with every tensor, decided from headers alone."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from enogu.core.networks import fp8
from enogu.core.networks.header import Header, Spec, TensorInfo, layout
from enogu.core.networks.keys import NAMES, TEXT_ENCODERS, place, why_fixed
from enogu.core.networks.layouts import find_layout
from enogu.core.records.errors import Refused, unknown
from enogu.merge.adapters.adapter import AdapterHeader
from enogu.merge.adapters.terms import Terms
from enogu.merge.algebra import Combination, Model
from enogu.merge.blocks import block_names
from enogu.merge.cautions import cautions
from enogu.merge.config import POLICIES, MergeConfig
from enogu.merge.meaning import PARTS, Meanings
from enogu.merge.objective import Objective, objective
from enogu.merge.parts import models_of, refuse_idle_parts, spoken
from enogu.merge.syntax import Formula, parse

TORCH: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
AS_IT_IS = "the formula takes it as it is"
LICENCE = "modelspec.license"
NAMED = 6  # models that a warning lists
FOREIGN = 0.5  # with fewer than this share of the UNet's tensors in common, two files are not of one family


@dataclass(frozen=True)
class KeyPlan:
    """One tensor of the result: "merged" from `result`, or "copied", "cast" or "dropped" with the reason."""

    key: str
    action: str
    spec: Spec
    result: Combination
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """The whole merge, before any tensor is read."""

    config: MergeConfig
    models: tuple[str, ...]
    keys: tuple[KeyPlan, ...]
    objective: Objective
    warnings: tuple[str, ...]

    @cached_property
    def kept(self) -> Mapping[str, KeyPlan]:
        """Return the tensors of the result in the order in which they are written."""
        kept = {item.key: item for item in self.keys if item.action != "dropped"}
        return {key: kept[key] for key in layout({key: item.spec for key, item in kept.items()})}

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the models that the result takes anything from, in the order of the formula."""
        used = {name for item in self.kept.values() for name in item.result.models()}
        return tuple(dict.fromkeys([*(name for name in self.models if name in used), *sorted(used)]))

    @property
    def out_bytes(self) -> int:
        """Return the size of the result's tensors."""
        return sum(info.nbytes for info in layout({key: item.spec for key, item in self.kept.items()}).values())


def make_plan(config: MergeConfig, headers: Mapping[str, Header]) -> Plan:
    """Decide for every tensor, or refuse before any work."""
    formula = parse(config.formula)
    terms = Terms({name: header for name, header in headers.items() if isinstance(header, AdapterHeader)})
    named = models_of(formula, {name: header.tensors for name, header in headers.items()}, terms.names)
    models = tuple(name for name in named if name not in terms.names)
    if not models:
        raise Refused("the formula names no model" + (", only what is added to one" if named else ""))
    headers = {name: header for name, header in headers.items() if name not in terms.names}
    refuse_idle_parts(formula, (key for name in models for key in headers[name].tensors))
    for policy in (config.vae, config.text):
        if policy not in (*POLICIES, *headers):
            raise unknown("model", policy, [*POLICIES, *headers])
    _same_family(models, headers)
    planner = _Planner(config, formula, models, headers, terms)
    keys = [planner.key(key) for key in dict.fromkeys(k for m in planner.order for k in headers[m].tensors)]
    if not any(item.action == "merged" or AS_IT_IS in item.why for item in keys):
        raise Refused("the formula comes to nothing: what it adds it takes away again")
    told = planner.objective(keys)
    marked = tuple(planner.marker(item, told) if place(item.key).fixed == "marker" else item for item in keys)
    warnings = (*cautions(formula), *planner.notes(marked), *told.warnings(headers))
    return Plan(config, models, marked, told, warnings)


def _same_family(models: tuple[str, ...], headers: Mapping[str, Header]) -> None:
    found = {name: {key for key in headers[name].tensors if place(key).component == "unet"} for name in models}
    leading, *others = [name for name in models if found[name]] or [""]
    for name in others:
        first, other = found[leading], found[name]
        if len(first & other) < FOREIGN * max(len(first), len(other)):
            one, two = (find_layout(headers[model]) for model in (leading, name))
            kinds = f" ({one.name} and {two.name})" if one and two and one != two else ""
            raise Refused(
                f"{leading} and {name} are not of one family{kinds}: their UNets share "
                f"{len(first & other):,} tensors of {len(first):,} and {len(other):,}"
            )


@dataclass
class _Planner:
    config: MergeConfig
    formula: Formula
    models: tuple[str, ...]
    headers: Mapping[str, Header]
    terms: Terms

    def __post_init__(self) -> None:
        self.order = tuple(dict.fromkeys([*self.models, self.config.vae, self.config.text]))
        self.order = tuple(name for name in self.order if name in self.headers)
        self.blocks = block_names(key for name in self.models for key in self.headers[name].tensors)
        self.spoken = spoken(self.formula)
        known = (*self.headers, *self.terms.adapters)
        self.meanings = Meanings(self.formula, known, self.blocks, self.terms.names)

    def key(self, key: str) -> KeyPlan:
        """Plan one tensor."""
        holders = {name: self.headers[name].tensors[key] for name in self.order if key in self.headers[name].tensors}
        first = next(iter(holders.values()))
        policy = self.policy(place(key).component)
        chosen = policy if policy in self.headers else self.models[0]
        why = why_fixed(key, first)
        if why == "ema":
            return KeyPlan(
                key, "dropped", _spec(key, first, "same"), Combination(), "a moving average, stale after a merge"
            )
        if why == "ids":  # other mergers have made floats of some
            holders = {name: info for name, info in holders.items() if not info.is_float} or holders
        if why:
            return self._copy(key, holders, chosen, why=f"never blended: {why}")
        result = self.terms.at(self.meanings.at(key), key, instead=chosen if policy != "formula" else "")
        if not result.terms:
            spoken = "the formula does not speak of it" if policy == "formula" else f"policy: {policy}"
            return self._copy(key, holders, chosen, why=spoken)
        needed = set(result.models()) - self.terms.names
        if missing := needed - holders.keys():
            self._refuse_partial(missing, place(key).component)
            return self._copy(key, holders, next(iter(holders)), why=f"missing from {', '.join(sorted(missing))}")
        self._same_shape(key, {name: holders[name] for name in self.order if name in needed})
        (node, coefficient), *more = result.terms
        if not more and isinstance(node, Model) and coefficient == 1.0:
            return self._copy(key, holders, node.name, why=AS_IT_IS)
        return KeyPlan(key, "merged", _spec(key, first, self.config.dtype), result)

    def _refuse_partial(self, missing: Collection[str], component: str) -> None:
        """Refuse to blend the UNet of a file that has other components only."""
        for name in sorted(missing if component == "unet" else ()):
            parts = {place(key).component for key in self.headers[name].tensors} & PARTS.keys()
            if component not in parts:
                taken = ", ".join(f"{name}.{part}" for part in sorted(parts))
                raise Refused(f"{name} has no UNet, which the formula blends; what it has is {taken or 'unknown'}")

    def objective(self, keys: Iterable[KeyPlan]) -> Objective:
        """Return what the UNet's models say that it predicts, the leading one first."""
        sources = {name for item in keys if place(item.key).component == "unet" for name in item.result.models()}
        return objective([name for name in self.order if name in sources], self.headers)

    def marker(self, item: KeyPlan, told: Objective) -> KeyPlan:
        """Plan a marker tensor again: what the result predicts is known now."""
        holder = told.holder(item.key, self.headers)
        if not holder:
            return replace(item, action="dropped", result=Combination(), why=f"the result predicts: {told}")
        return self._copy(
            item.key, {holder: self.headers[holder].tensors[item.key]}, holder, why="never blended: marker"
        )

    def policy(self, component: str) -> str:
        """Return where a component comes from: "first", "formula" or a model."""
        if component in self.spoken:
            return "formula"
        if component == "vae":
            return self.config.vae
        return self.config.text if component in TEXT_ENCODERS else "formula"

    def notes(self, keys: tuple[KeyPlan, ...]) -> Iterator[str]:
        """Yield warnings that concern the whole."""
        yield from self.terms.notes()
        for name in sorted(self.headers.keys() - set(self.order)):
            yield f"{name} is bound to a file, but the formula does not name it"
        for item in keys:
            if place(item.key).fixed == "ids" and item.spec.dtype.is_floating_point:
                yield f"{item.key} is no list of integers in any model; enogu convert mends the result"
        lone = [item.key for item in keys if "missing from" in item.why]
        if lone:
            yield f"{len(lone)} tensors are not in every model and are copied, for example {lone[0]}"
        if self.config.dtype == "same" and any(info.scaled for info in self.headers[self.models[0]].tensors.values()):
            yield f"{self.models[0]} holds weights in 8 bits with scales; they are written in fp16 (dtype chooses)"
        holders: dict[str, list[str]] = {}
        for name in self.models:
            for licence in licences_of(self.headers[name]):
                holders.setdefault(licence, []).append(name)
        if len(holders) > 1:
            told = (f"{', '.join(names[:NAMED])}{' ...' * (len(names) > NAMED)}: {x}" for x, names in holders.items())
            yield f"the models differ in licence ({'; '.join(told)})"

    def _copy(self, key: str, holders: Mapping[str, TensorInfo], source: str, *, why: str) -> KeyPlan:
        name = source if source in holders else next(iter(holders))
        if name != source:
            why += f"; missing from {source}"
        info = holders[name]
        spec = _spec(key, info, "same" if why_fixed(key, info) else self.config.dtype)
        action = "copied" if spec.dtype == info.torch_dtype else "cast"
        return KeyPlan(key, action, spec, Combination(((Model(name), 1.0),)), f"from {name} ({why})")

    def _same_shape(self, key: str, holders: Mapping[str, TensorInfo]) -> None:
        (first, info), *others = holders.items()
        for name, other in others:
            if other.shape != info.shape:
                raise Refused(
                    f"{key} is {list(info.shape)} in {first} and {list(other.shape)} in {name}; "
                    f"the {NAMES[place(key).component]}s do not fit together"
                )


def licences_of(header: Header) -> list[str]:
    """Return the licences of a model; those of a merge are its parents', one after the other."""
    return [text for text in header.metadata.get(LICENCE, "").split("; ") if text]


def _spec(key: str, info: TensorInfo, dtype: str) -> Spec:
    if dtype in fp8.DTYPES and not fp8.may_narrow(key, info):
        dtype = "same"  # norms, biases, embeddings, first and last layers
    if dtype == "same":
        return Spec(torch.float16 if info.scaled else info.torch_dtype, info.shape)
    return Spec({**TORCH, **fp8.DTYPES}[dtype], info.shape)
