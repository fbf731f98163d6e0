"""The trained tagger in the WD14 form: `model.onnx`, float16 weights, batch norms folded in."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from enogu.core.records.errors import Refused
from enogu.core.records.files import write_bytes
from enogu.mini.tagger_net import HALF_RANGE, Convolution, Residual, TaggerNet, folded

OPSET = 17
IR_VERSION = 8  # read by onnxruntime 1.14 and newer
FLOAT = 1  # ONNX's number for float32


@dataclass
class _Graph:
    """Operators and constants as they are added; every method returns the name of its result."""

    nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append((kind, inputs, name, attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Store an array as it is."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def weight(self, value: Tensor) -> str:
        """Store as float16, to be computed with in float32."""
        return self.node("Cast", self.constant(value.detach().half().numpy()), to=FLOAT)

    def convolution(self, x: str, block: Convolution) -> str:
        """Add a convolution with its norm folded in, and its ReLU."""
        weight, bias = map(self.weight, folded(block))
        stride = list(block.conv.stride)
        x = self.node("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=stride)
        return self.node("Relu", x)


def check_onnx() -> None:
    """Refuse to begin where the end could not be written; nothing else needs the package."""
    if find_spec("onnx") is None:
        raise Refused("a [tagger] stage writes ONNX and needs the package onnx: pip install 'enogu[dev]'")


def write_model(path: Path, net: TaggerNet, side: int) -> None:
    """Write a trained network; probabilities out, NHWC BGR 0 to 255 in."""
    graph = _Graph()
    x = graph.node("Transpose", "input", perm=[0, 3, 1, 2])
    x = graph.node("Div", x, graph.constant(np.array(HALF_RANGE, np.float32)))
    x = graph.node("Sub", x, graph.constant(np.array(1, np.float32)))
    for layer in net.layers:
        if isinstance(layer, Residual):
            x = graph.node("Add", x, graph.convolution(graph.convolution(x, layer.first), layer.second))
        elif isinstance(layer, Convolution):
            x = graph.convolution(x, layer)
    pooled = graph.node("Concat", graph.node("GlobalAveragePool", x), graph.node("GlobalMaxPool", x), axis=1)
    weight, bias = graph.weight(net.head.weight), graph.weight(net.head.bias)
    logits = graph.node("Gemm", graph.node("Flatten", pooled), weight, bias, transB=1)
    graph.nodes.append(("Sigmoid", (logits,), "output", {}))
    write_bytes(path, _serialised(graph, side, net.head.out_features))


def _serialised(graph: _Graph, side: int, tags: int) -> bytes:
    import onnx

    make = onnx.helper
    whole = make.make_graph(
        [make.make_node(kind, inputs, [name], name, **rest) for kind, inputs, name, rest in graph.nodes],
        "enogu-mini-tagger",
        [make.make_tensor_value_info("input", FLOAT, ["batch", side, side, 3])],
        [make.make_tensor_value_info("output", FLOAT, ["batch", tags])],
        [onnx.numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    model = make.make_model(whole, producer_name="enogu", opset_imports=[make.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
