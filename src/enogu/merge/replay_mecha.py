"""Recipes of sd-mecha (.mecha texts, format 0.1.0), as formulas: one named step per instruction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enogu.core.records.errors import Refused, unknown
from enogu.merge.config import MergeConfig
from enogu.merge.replay_records import Names, Replay, Wanted

VERSIONS = ("0.1.0",)
CONSTANTS: Mapping[str, Any] = {"null": None, "true": True, "false": False}
TOKEN = re.compile(r'(?:(\w+)=)?(?:"((?:[^"\\]|\\.)*)"|([^\s"=]+))(?:\s+|$)')
CALLS: Mapping[str, tuple[tuple[str, ...], str]] = {  # methods that give the same numbers here: parameters, text
    "weighted_sum": (("a", "b", "alpha"), "weighted_sum({a}, {b}, {alpha})"),
    "add_difference": (("a", "b", "alpha"), "{a} + {alpha}*({b})"),
    "subtract": (("a", "b"), "{a} - ({b})"),
    "scale": (("a", "alpha"), "{alpha}*({a})"),
    "geometric_sum": (("a", "b", "alpha"), "geometric_sum({a}, {b}, {alpha})"),
    "slerp": (("a", "b", "alpha"), "nuslerp({a}, {b}, {alpha})"),
}
LISTS: Mapping[str, str] = {  # the same for methods of any number of models
    "n_average": "mean({models})",
    "geometric_median": "geometric_median({models})",
    "clamp": "clamp({models})",
}
UNLIKE: Mapping[str, str] = {  # methods of the same name that give other numbers
    "crossover": "its numbers differ on axes of odd length",
    "model_stock": "it takes its cosine per row and between neighbours only",
    "tensor_sum": "it rounds shares of rows where SuperMerger cuts",
    "ties_sum": "its votes and its thresholds differ from the published method's",
}
LEAST: Mapping[str, int] = {"perpendicular_component": 2, "train_difference_mask": 3}  # models; of others one
BLOCKS = ("convert_sd1_blocks_to_ldm", "convert_sdxl_blocks_to_sgm")
SPACES = ("fallback", "convert_singleton", "cast")  # instructions that change nothing that a formula says


@dataclass(frozen=True)
class Difference:
    """A step that is one value less another, which two methods must know."""

    left: str
    right: str


@dataclass(frozen=True)
class Mask:
    """The mask of train difference, which is only half a method."""

    of: tuple[str, ...]
    alpha: str


@dataclass
class _Reader:
    names: Names = field(default_factory=Names)
    values: list[Any] = field(default_factory=list)  # per instruction: a formula's text, a mapping, a mask
    steps: dict[str, str] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def instruction(self, line: str) -> None:
        """Read one line."""
        command, *rest = _tokens(line)
        given = [self._value(value, quoted=quoted) for key, value, quoted in rest if not key]
        named = {key: self._value(value, quoted=quoted) for key, value, quoted in rest if key}
        if not given and command[1] != "dict":
            raise Refused(f"{command[1]} lacks its first argument")
        match command[1]:
            case "dict":
                self.values.append(named)
            case "literal":
                self.values.append(given[0])
            case "model":
                self.values.append(self.names.of(Wanted(title=str(given[0]))))
            case "merge":
                self.values.append(self._merge(str(given[0]), given[1:], named))
            case other:
                raise unknown("sd-mecha command", other, ["dict", "literal", "model", "merge"])

    def _value(self, text: str, *, quoted: bool) -> Any:
        if quoted:
            return re.sub(r"\\(.)", r"\1", text)
        if text in CONSTANTS:
            return CONSTANTS[text]
        if text.startswith("&"):
            if not text[1:].isdecimal() or int(text[1:]) >= len(self.values):
                raise Refused(f"reference {text} points at no earlier line")
            return self.values[int(text[1:])]
        try:
            return float(text)
        except ValueError:
            raise Refused(f"cannot read {text!r}") from None

    def _merge(self, method: str, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        if len(given) < LEAST.get(method, 1):
            raise Refused(f"{method} lacks an argument")
        if method == "convert_singleton":
            return given[0]["key"] if isinstance(given[0], dict) and "key" in given[0] else given[0]
        if method in SPACES:
            return given[0]
        if method in BLOCKS:
            return _blocks(given[0])
        if method == "train_difference_mask":
            return Mask(tuple(map(str, given[:3])), _plain([*given[3:], *named.values(), 1.0][0]))
        if method == "perpendicular_component":
            return self._step(self._perpendicular(*map(str, given[:2])))
        if method in LISTS:
            return self._step(self._list(method, given, named))
        if method not in CALLS:
            known = ", ".join(sorted([*CALLS, *LISTS, "perpendicular_component", "train_difference_mask"]))
            why = f" ({UNLIKE[method]})" if method in UNLIKE else ""
            raise Refused(f"sd-mecha's {method!r} has no exact counterpart here{why}; replayed are: {known}")
        parameters, template = CALLS[method]
        bound = {**dict(zip(parameters, given, strict=False)), **named}
        if missing := [name for name in parameters if name not in bound]:
            raise Refused(f"{method} lacks its {missing[0]}")
        if isinstance(bound.get("alpha"), Mask):
            return self._step(self._train_difference(bound))
        step = self._step(template.format(**{name: _plain(bound[name]) for name in parameters}))
        if method == "subtract":
            self.differences[step] = Difference(str(bound["a"]), str(bound["b"]))
        return step

    def _list(self, method: str, given: Sequence[Any], named: Mapping[str, Any]) -> str:
        if method == "clamp" and named.get("stiffness", 0.0):
            raise Refused("sd-mecha's clamp with stiffness has no counterpart here")
        return LISTS[method].format(models=", ".join(map(_plain, given)))

    def _perpendicular(self, left: str, right: str) -> str:
        a, b = self.differences.get(left), self.differences.get(right)
        if a is None or b is None or a.right != b.right:
            raise Refused("perpendicular_component is replayed for two differences from one model only")
        return f"perpendicular({a.left}, {b.left}, {a.right}) - ({a.left})"

    def _train_difference(self, bound: Mapping[str, Any]) -> str:
        mask, difference = bound["alpha"], self.differences.get(str(bound["b"]))
        if difference is None or mask.of != (str(bound["a"]), difference.left, difference.right):
            raise Refused("train_difference_mask is replayed where it masks B - C of the same A, B and C only")
        return f"train_difference({', '.join(mask.of)}, {mask.alpha})"

    def _step(self, text: str) -> str:
        name = f"step{len(self.steps) + 1}"
        self.steps[name] = text
        return name


def from_mecha(text: str, *, dtype: str) -> Replay:
    """Read a .mecha text; its models are known by path only, so that they are looked for by name."""
    first, *lines = text.strip().split("\n")
    version = first.removeprefix("version").strip()
    if not first.startswith("version") or version not in VERSIONS:
        raise Refused(f"the recipe begins with {first[:60]!r}; read are .mecha texts of version {', '.join(VERSIONS)}")
    reader = _Reader()
    for number, line in enumerate(lines, 2):
        if line.strip() and not line.strip().startswith("#"):
            try:
                reader.instruction(line)
            except Refused as refusal:
                raise Refused(f"recipe, line {number}: {refusal}\n  {line}") from None
    if not reader.values or not isinstance(reader.values[-1], str):
        raise Refused("the recipe ends without a model")
    steps = [f"{name} = {value}" for name, value in reader.steps.items() if name != reader.values[-1]]
    formula = "\n".join([*steps, reader.steps.get(reader.values[-1], reader.values[-1])])
    config = MergeConfig(formula=formula, dtype=dtype, vae="formula", text="formula")
    notes = ("sd-mecha's recipes hold no hashes: the models are matched by the names of their files", *reader.notes)
    return Replay("sd-mecha", config, reader.names.wanted, tuple(dict.fromkeys(notes)))


def _tokens(line: str) -> list[tuple[str, str, bool]]:
    """Return (key, value, quoted) of each word of a line."""
    found, at = [], 0
    text = line.strip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Refused(f"cannot read {text[at : at + 20]!r}")
        found.append((match[1] or "", match[3] if match[2] is None else match[2], match[2] is not None))
        at = match.end()
    return found


def _blocks(given: Any) -> str:
    if not isinstance(given, dict) or not all(isinstance(number, float) for number in given.values()):
        raise Refused("block weights must be numbers by block")
    return f"blocks({', '.join(f'{name}={number!r}' for name, number in given.items())}, convention='mecha')"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return value
    raise Refused(f"expected a model or a number, found {value!r}")
