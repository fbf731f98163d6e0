"""What a maker sets for a merge."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enogu.core.records.errors import unknown
from enogu.merge.patterns import is_pattern, spelt_out
from enogu.merge.presets import is_preset
from enogu.merge.syntax import Call, Expression, Formula, Name, Text, parse, pointed

DTYPES = ("same", "fp32", "fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2")
PRECISIONS = ("fp32", "fp64")
LANGUAGE = ("amplify", "blocks", "gradient", "mbw")  # words that are no methods: the table is in words.py
POLICIES = ("first", "formula")  # anything else is a model's name


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """One merge; the grammar of formulas is in docs/formula.md."""

    formula: str
    dtype: str = "same"  # of the result's floats; "same" as each tensor's in the first model
    precision: str = "fp32"  # of the arithmetic; the result is rounded once
    vae: str = "first"  # "first", a model's name, or "formula" to blend it; a formula that names .vae decides itself
    text: str = "first"  # the same for the text encoders; block weights with a number for BASE decide themselves
    nonfinite: str = "refuse"  # "keep" lets NaN and infinities through
    seed: int = 0  # of methods that draw at random

    def __post_init__(self) -> None:
        """Refuse what no merge can mean."""
        _know_methods(parse(self.formula))
        for field, value, known in (
            ("dtype", self.dtype, DTYPES),
            ("precision", self.precision, PRECISIONS),
            ("nonfinite", self.nonfinite, ("refuse", "keep")),
        ):
            if value not in known:
                raise unknown(field, value, known)

    def model_names(self) -> tuple[str, ...]:
        """Return the names that the formula and the policies use, in their order."""
        formula = parse(self.formula)
        steps = {name for name, _ in formula.steps}
        curves = {id(item) for call in formula.walk() for item in _curves(call)}
        words = [
            item.name if isinstance(item, Name) else item.text
            for item in formula.walk()
            if isinstance(item, Name) or (isinstance(item, Text) and id(item) not in curves)
        ]
        named = (word for word in words if word not in steps and not is_preset(word) and not is_pattern(word))
        return tuple(dict.fromkeys([*named, *(name for name in (self.vae, self.text) if name not in POLICIES)]))

    def spelt_out(self, folder: Path, known: Mapping[str, Path | None]) -> tuple["MergeConfig", dict[str, Path]]:
        """Return this with the models that its patterns match, and the files among them that had no name."""
        formula, files = spelt_out(self.formula, folder, known)
        return replace(self, formula=formula), files


def _curves(item: Expression) -> tuple[Expression, ...]:
    """Return the arguments of a call that are block weights: words among them are presets."""
    if not isinstance(item, Call) or item.method not in ("mbw", "blocks"):
        return ()
    return item.arguments[2:] if item.method == "mbw" else item.arguments


def _know_methods(formula: Formula) -> None:
    """Refuse a method that there is not, before anything is run; a method is named as its file, which is not read."""
    known = {*LANGUAGE, *(path.stem for path in (Path(__file__).parent / "methods").glob("[!_]*.py"))}
    for item in formula.walk(options=True):
        if isinstance(item, Call) and item.method not in known:
            raise pointed(formula.text, item.at, str(unknown("method", item.method, known)))
