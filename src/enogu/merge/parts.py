"""Which models a formula names and which of them leads; which components it speaks of."""

from collections.abc import Collection, Iterable, Mapping

from enogu.core.networks.keys import place
from enogu.core.records.errors import Refused, unknown
from enogu.merge.algebra import TOLERANCE, Combination
from enogu.merge.blocks import BASE, VAE, block_names
from enogu.merge.meaning import PARTS, Meaning
from enogu.merge.patterns import is_pattern, matching, unknown_model
from enogu.merge.presets import is_preset
from enogu.merge.syntax import Call, Chain, Expression, Formula, Items, Name, Part, Text, pointed

LISTS_WITH_BASE = (20, 26)
BLOCK_WORDS = ("mbw", "blocks", "gradient")
SOME_UNET_KEY = "model.diffusion_model.middle_block.0."


def models_of(formula: Formula, keys: Mapping[str, Iterable[str]], adapters: Collection[str] = ()) -> tuple[str, ...]:
    """Return the models of a formula: the leading one, then the others in the order of the text."""
    named = named_models(formula, tuple(keys))
    if not named:
        _refuse_unknown(formula, tuple(keys))
        return ()
    blocks = block_names(key for name in named for key in keys[name])
    try:
        meaning = Meaning(formula, tuple(keys), blocks, SOME_UNET_KEY, frozenset(adapters))
        leading = _lead(meaning, formula.result)
    except RecursionError:
        raise Refused("too many steps of the formula build on one another; merge in two goes") from None
    return tuple(dict.fromkeys([*([leading] if leading else []), *named]))


def named_models(formula: Formula, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models that a formula names or matches by a pattern, in the order of the text."""
    steps = {name for name, _ in formula.steps}
    found: list[str] = []
    for item in formula.walk():
        if isinstance(item, Name) and item.name in known and item.name not in steps:
            found.append(item.name)
        elif isinstance(item, Text):
            pattern = item.text if is_pattern(item.text) else ""
            found += [item.text] if item.text in known else matching(pattern, known)
    return tuple(dict.fromkeys(found))


def _refuse_unknown(formula: Formula, known: tuple[str, ...]) -> None:
    """Refuse the first name of a formula that knows none of its models."""
    steps = {name for name, _ in formula.steps}
    for item in formula.walk():
        if isinstance(item, Name) and item.name not in steps:
            raise pointed(formula.text, item.at, str(unknown("model", item.name, known)))
        if isinstance(item, Text) and not is_preset(item.text):
            raise pointed(formula.text, item.at, str(unknown_model(item.text, known)))


def spoken(formula: Formula) -> set[str]:
    """Return the components that a formula speaks of itself, so that no policy decides for it.

    `.vae` and block weights with a number for VAE speak of the VAE; a number for BASE, by name or in a list of full
    length, speaks of the text encoders.
    """
    items = list(formula.walk())
    found = {component for item in items if isinstance(item, Part) for component in PARTS.get(item.component, ())}
    calls = [item for item in items if isinstance(item, Call) and item.method in BLOCK_WORDS]
    named = {name.upper() for call in calls for name, _ in call.options}
    full = any(isinstance(item, Items) and len(item.items) in LISTS_WITH_BASE for item in items)
    if calls and (full or BASE in named):
        found |= set(PARTS["te"])
    return found | ({"vae"} if VAE in named else set())


def refuse_idle_parts(formula: Formula, keys: Iterable[str]) -> None:
    """Refuse components that no tensor belongs to."""
    held = {place(key).component for key in keys}
    for item in formula.walk():
        if not isinstance(item, Part) or item.component not in PARTS:
            continue
        wanted = set(PARTS[item.component])
        if not wanted & held:
            parts = ", ".join(sorted(held & PARTS.keys()))
            raise pointed(formula.text, item.at, f"no model has a {item.component}; they have {parts}")
        whole = item.whole
        if isinstance(whole, Part) and not wanted & set(PARTS.get(whole.component, wanted)):
            raise pointed(formula.text, item.at, f"the {whole.component} of a model has no {item.component} in it")


def _lead(meaning: Meaning, expression: Expression) -> str | None:
    """Return the first model that is not only one side of a difference: the one that others are added to."""
    value = meaning.value(expression)
    if isinstance(value, float):
        return None
    if isinstance(value, Combination) and value.space < TOLERANCE and (value.terms or isinstance(expression, Part)):
        return None  # but no factor of 0, which is what a ratio comes to
    match expression:
        case Name(name) if name in meaning.models:
            return name
        case Name(name):
            return _lead(meaning, dict(meaning.formula.steps)[name])
        case Text(text):
            return next(iter([text] if text in meaning.models else matching(text, meaning.models)), None)
        case Part(whole, _):
            beneath: tuple[Expression, ...] = (whole,)
        case Chain(first, rest):
            beneath = (first, *(right for sign, right in rest if sign != "-"))
        case Items(items) | Call(_, items, _):
            beneath = items
        case _:
            beneath = ()
    return next((found for item in beneath if (found := _lead(meaning, item))), None)
