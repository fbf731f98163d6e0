"""Recipes of A1111's merger and of SuperMerger (`sd_merge_recipe`), as formulas."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.records.errors import Refused, unknown
from enogu.merge.blocks import BASE, VAE, block_names
from enogu.merge.config import MergeConfig
from enogu.merge.lineage import WEBUI_PARENTS
from enogu.merge.replay_kept import kept
from enogu.merge.replay_records import Names, Replay, Wanted, stored_dtype
from enogu.merge.rules import read_rules

SD1_BLOCKS = (BASE, *(f"IN{i:02d}" for i in range(12)), "M00", *(f"OUT{i:02d}" for i in range(12)))
A1111: Mapping[str, str] = {  # A1111's interp_method
    "No interpolation": "{a}",
    "Weighted sum": "(1 - {alpha})*{a} + {alpha}*{b}",
    "Add difference": "{a} + {alpha}*({b} - {c})",
}
MODES: Mapping[str, str] = {  # SuperMerger's mode, by the word it looks for
    "Weight": "weighted_sum({a}, {b}, {alpha})",
    "Add": "add_difference({a}, {b}, {c}, {alpha})",
    "Triple": "triple_sum({a}, {b}, {c}, {alpha}, {beta})",
    "Twice": "sum_twice({a}, {b}, {c}, {alpha}, {beta})",
}
CALCMODES: Mapping[str, str] = {  # SuperMerger's calcmode, where it overrules the mode
    "trainDifference": "train_difference({a}, {b}, {c}, {alpha})",
    "smoothAdd": "smooth_add({a}, {b}, {c}, {alpha})",
    "smoothAdd MT": "smooth_add({a}, {b}, {c}, {alpha})",
    "tensor": "tensor_sum({a}, {b}, {alpha}, {beta})",
    "cosineA": "cosine_a({a}, {b}, {alpha})",
    "cosineB": "cosine_b({a}, {b}, {alpha})",
}
OF_DIFFERENCES = ("smoothAdd", "smoothAdd MT")  # calcmodes that want the mode Add; trainDifference sets it itself
EXTRACT = (
    "its recipe does not tell the option (gamma); write extract(a, b, c, ALPHA, BETA, GAMMA), 0.3 unless it was moved"
)


def from_webui(made: Mapping[str, Any], known: Mapping[str, Any], *, header: Header) -> Replay:
    """Read a webui's recipe; `known` is its map of models by hash, `header` that of the merged file."""
    names = Names()
    kind = str(made.get("type", "webui"))
    if kind == "webui":
        return _a1111(made, names, known)
    if kind == "sd-webui-supermerger":
        return _supermerger(made, names, known, header=header)
    raise unknown("kind of merge recipe", kind, ["webui", "sd-webui-supermerger"])


def _a1111(made: Mapping[str, Any], names: Names, known: Mapping[str, Any]) -> Replay:
    method = str(made.get("interp_method"))
    if method not in A1111:
        raise unknown("interp_method", method, A1111)
    used = [field for field, letter in zip(WEBUI_PARENTS, "abc", strict=True) if f"{{{letter}}}" in A1111[method]]
    letters = {letter: names.of(_wanted(made, field, known)) for field, letter in zip(used, "abc", strict=False)}
    formula = A1111[method].format(**letters, alpha=_number(made.get("multiplier", 0.0), "multiplier"))
    dtype = "fp16" if made.get("save_as_half") else "same"
    config = MergeConfig(formula=formula, dtype=dtype, vae="formula", text="formula")
    return Replay("A1111", config, names.wanted, tuple(_a1111_notes(made)))


def _a1111_notes(made: Mapping[str, Any]) -> Iterator[str]:
    if (vae := made.get("bake_in_vae")) and vae != "None":
        yield f"A1111 baked in the VAE {vae!r}, which its recipe knows by name only: enogu convert --vae FILE"
    if discarded := made.get("discard_weights"):
        yield f"A1111 left out the tensors that match {discarded!r}; they stay here"


def _supermerger(made: Mapping[str, Any], names: Names, known: Mapping[str, Any], *, header: Header) -> Replay:
    mode = next((word for word in MODES if word in str(made.get("mode"))), "")
    calc = str(made.get("calcmode") or "normal")
    if not mode:
        raise unknown("mode", str(made.get("mode")), MODES)
    if refusal := _unlike(made, mode, calc):
        raise Refused(f"SuperMerger's calcmode {calc!r} in the mode {mode!r} has no exact counterpart here: {refusal}")
    template = CALCMODES.get(calc, MODES[mode])
    letters = {
        letter: names.of(_wanted(made, f"model_{letter}", known)) for letter in "abc" if f"{{{letter}}}" in template
    }
    blocks = block_names(header.tensors)
    steps = {
        name: _weights(made, name, blocks)
        for name, greek in (("alpha", "{alpha}"), ("beta", "{beta}"))
        if greek in template
    }
    merged = template.format(**letters, alpha="alpha", beta="beta")
    chosen = kept(made, header, blocks)
    if "cosine" in calc:  # never of the VAE; what is left out elsewhere belongs to the range of likenesses
        number = "kept*alpha - 1e15*(1 - kept)" if chosen else "alpha"  # so low, a is taken whatever the likeness
        steps |= {**({"kept": chosen} if chosen else {}), "vae": f"blocks(0, {VAE}=1)"}
        steps |= {"mixed": template.format(**letters, alpha=number)}
        merged = f"vae*{letters['a']} + (1 - vae)*mixed"
    elif chosen:
        steps |= {"kept": chosen, "mixed": merged}
        merged = f"(1 - kept)*{letters['a']} + kept*mixed"
    formula = "".join(f"{name} = {text}\n" for name, text in steps.items()) + merged
    config = MergeConfig(formula=formula, dtype=stored_dtype(header), vae="formula", text="formula")
    return Replay("SuperMerger", config, names.wanted, tuple(_supermerger_notes(made, mode, calc)))


def _unlike(made: Mapping[str, Any], mode: str, calc: str) -> str:
    """Return why a recipe of SuperMerger's cannot be repeated, or nothing."""
    if calc == "extract":
        return EXTRACT
    if calc != "normal" and calc not in CALCMODES:
        return f"replayed are: {', '.join(['normal', *CALCMODES])}"
    if calc not in ("normal", "trainDifference") and (mode == "Add") != (calc in OF_DIFFERENCES):
        return (
            "it computes with B - C there as if that were B" if mode == "Add" else "it computes with B instead of B - C"
        )
    return ""


def _supermerger_notes(made: Mapping[str, Any], mode: str, calc: str) -> Iterator[str]:
    if "cosine" in calc:
        yield "SuperMerger takes the range of likenesses over keys that it does not merge, too: last bits may differ"
    if mode == "Add" and calc == "normal":
        yield "SuperMerger stored B - C in the models' own dtype: its file may differ from this one in the last bit"
    yield "SuperMerger's recipe does not tell of adjustments, a baked-in VAE or pruning"


def _weights(made: Mapping[str, Any], name: str, blocks: Sequence[str]) -> str:
    """Return the block weights of alpha or beta as `blocks(...)`, with the element rules on alpha."""
    base = _number(made.get(f"base_{name}", 0.0), f"base_{name}")
    numbers: list[float] = [float(base)] * (len(blocks) - 1)
    if made.get("mbw"):
        given = made.get(f"weights_{name}")
        listed = given.split(",") if isinstance(given, str) else given
        if not isinstance(listed, list):
            raise Refused(f"weights_{name} of the recipe is {given!r}, not a list of numbers")
        numbers = [float(_number(each, f"weights_{name}")) for each in listed]
        numbers = numbers[:-1] if len(numbers) == 20 and len(blocks) == 20 else numbers  # the last is its unused VAE
        if len(numbers) != len(blocks) - 1:
            raise Refused(f"weights_{name} holds {len(numbers)} numbers; the file has {len(blocks) - 1} blocks")
    rules = list(_rules(made.get("elemental_merge"), blocks)) if name == "alpha" else []
    ruled = f", rules=[{', '.join(map(repr, rules))}]" if rules else ""
    return f"blocks([{', '.join(f'{number!r}' for number in numbers)}], base={base}{ruled})"


def _rules(given: Any, blocks: Sequence[str]) -> Iterator[str]:
    """Yield element rules; SuperMerger counts blocks by SD1's names even where it merges SDXL."""
    texts = given if isinstance(given, list) else [given or ""]
    for rule in (each for text in texts if str(text).count(":") == 2 for each in read_rules(str(text))):
        hit = rule.within(SD1_BLOCKS).blocks
        counted = [blocks[SD1_BLOCKS.index(name)] for name in hit if SD1_BLOCKS.index(name) < len(blocks)]
        if hit and not counted:
            continue
        words = [*(["NOT"] if rule.not_blocks else []), *counted]
        elements = [*(["NOT"] if rule.not_elements else []), *rule.elements]
        yield f"{' '.join(words)}:{' '.join(elements)}:{rule.value!r}"


def _wanted(made: Mapping[str, Any], field: str, known: Mapping[str, Any]) -> Wanted:
    digest = made.get(field)
    if not isinstance(digest, str) or not digest:
        raise Refused(f"the recipe does not name its {field}; without a hash it cannot be replayed")
    entry = known.get(digest)
    return Wanted(digest.lower(), str(entry.get("name", "")) if isinstance(entry, dict) else "")


def _number(value: Any, what: str) -> str:
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        raise Refused(f"{what} of the recipe is {value!r}, not a number") from None
