"""The formula language backwards: a tree to a text that parses to the same tree."""

from enogu.merge.syntax import NAME, Call, Chain, Expression, Formula, Items, Name, Number, Part, Text


def worded(item: Formula | Expression) -> str:
    """Return the shortest plain spelling of a formula or of a part of one."""
    match item:
        case Formula(_, steps, result):
            return ";\n".join([*(f"{name} = {worded(value)}" for name, value in steps), worded(result)])
        case Number(value):
            return repr(value).removesuffix(".0")
        case Name(name):
            return name
        case Text(text):
            return f"'{text}'" if '"' in text else f'"{text}"'
        case Items(items):
            return f"[{', '.join(map(worded, items))}]"
        case Call(method, arguments, options):
            given = [*map(worded, arguments), *(f"{name}={worded(value)}" for name, value in options)]
            return f"{method}({', '.join(given)})"
        case Part(whole, component):
            return f"{_bracketed(whole)}.{component}"
        case Chain(first, ((sign, right), *rest)):
            if _is_negated(item):
                return f"-{_bracketed(right)}"
            operand = _term if sign in "+-" else _factor
            space = " " if sign in "+-" else ""
            words = [f"{space}{each}{space}{operand(value)}" for each, value in ((sign, right), *rest)]
            return operand(first) + "".join(words)
    raise AssertionError(item)


def spelt(name: str) -> str:
    """Return a model's name as it stands in a formula: in quotes if it is more than letters, digits and _."""
    return name if NAME.fullmatch(name) else worded(Text(name))


def _is_negated(item: Expression) -> bool:
    return isinstance(item, Chain) and item.first == Number(-1.0) and len(item.rest) == 1


def _term(item: Expression) -> str:
    is_sum = isinstance(item, Chain) and item.rest[0][0] in "+-"
    return f"({worded(item)})" if is_sum else worded(item)


def _factor(item: Expression) -> str:
    return worded(item) if _is_negated(item) else _bracketed(item)


def _bracketed(item: Expression) -> str:
    return f"({worded(item)})" if isinstance(item, Chain) else worded(item)
