"""What sd-mecha and mergekit answer to the cases of cases.toml, from fixed tensors: writes answers.safetensors.

Run by hand where both are installed, `python -m tests.merge.peers.make_answers`; the tests need neither.
"""

import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
SHAPES = {"vector": (20,), "matrix": (6, 8), "kernel": (4, 3, 3, 3)}
Model = dict[str, Tensor]


def models() -> dict[str, Model]:
    """Return four models near a common base, as fine-tunes are."""
    random = torch.Generator().manual_seed(20)
    base = {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}
    return {
        letter: {name: value + 0.3 * torch.randn(value.shape, generator=random) for name, value in base.items()}
        for letter in "abcd"
    }


def sd_mecha(theirs: str) -> Model:
    """Evaluate a recipe in float64."""
    mecha: Any = import_module("sd_mecha")
    methods: Any = import_module("sd_mecha.extensions.merge_methods")
    words = {method.identifier: method for method in methods.get_all()}
    words |= {letter: mecha.model({k: v.double() for k, v in model.items()}) for letter, model in models().items()}
    return dict(mecha.merge(eval(theirs, words), merge_dtype=torch.float64, output_dtype=torch.float64))


def mergekit(theirs: str) -> Model:
    """Call a method for each tensor in float64."""
    known: Any = import_module("mergekit.merge_methods.registry")
    words = {method.spec.name: _caller(method) for method in known.registered_methods()}
    inputs = models()
    return {
        name: eval(theirs, words | {letter: model[name].double() for letter, model in inputs.items()})
        for name in SHAPES
    }


def _caller(method: Any) -> Callable[..., Tensor]:
    base: Any = import_module("mergekit.merge_methods.base")
    own = {item.name for item in method.spec.input_parameters}

    def call(*tensors: Tensor, base_tensor: Tensor | None = None, **parameters: Any) -> Tensor:
        every = [*([] if base_tensor is None else [base_tensor]), *tensors]
        group = base.TensorGroup.from_tensors(every, base_index=None if base_tensor is None else 0)
        for name in own & parameters.keys():
            values = parameters[name] if isinstance(parameters[name], list) else [parameters[name]] * len(tensors)
            parameters[name] = dict(zip(range(len(every) - len(tensors), len(every)), values, strict=True))
        (answer,) = method([group], parameters=parameters)
        assert isinstance(answer, Tensor)
        return answer

    return lambda *tensors, base=None, **parameters: call(*tensors, base_tensor=base, **parameters)


TOOLS: Mapping[str, Callable[[str], Model]] = {"sd-mecha": sd_mecha, "mergekit": mergekit}


def answer(case: Mapping[str, Any]) -> Model:
    """Return what a tool answers to a case, by the case and the tensor."""
    found = TOOLS[case["tool"]](case["theirs"])
    return {f"{case['tool']}: {case['theirs']}/{name}": found[name].float().contiguous() for name in SHAPES}


def main() -> None:
    """Write the inputs, and the answer of every case under its number."""
    table = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))
    for tool, wanted in table["versions"].items():
        assert version(tool) == wanted, f"{tool} {version(tool)} is installed; cases.toml speaks of {wanted}"
    tensors = {f"{letter}/{name}": value for letter, model in models().items() for name, value in model.items()}
    for case in table["cases"]:
        tensors |= answer(case)
    with patch("torch.bernoulli", lambda chances, generator=None: chances):
        for case in table["chances"]:
            tensors |= answer(case)
    save_file(tensors, HERE / "answers.safetensors", table["versions"])


if __name__ == "__main__":
    main()
