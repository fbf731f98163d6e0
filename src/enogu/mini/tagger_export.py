"""The trained tagger in the WD14 form: `model.onnx`, float16 weights, batch norms folded in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from enogu.core.records.files import write_bytes
from enogu.mini.tagger_net import HALF_RANGE, Convolution, Residual, TaggerNet, folded

OPSET = 17
IR_VERSION = 8  # read by onnxruntime 1.14 and newer


@dataclass
class _Graph:
    """Nodes and weights as they are added; every method returns the name of its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def weight(self, value: Tensor) -> str:
        """Store as float16 and compute in float32."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.detach().half().numpy(), name))
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def constant(self, value: float) -> str:
        """Store a float32 scalar."""
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def convolution(self, x: str, block: Convolution) -> str:
        """Add a convolution with its norm folded in, and its ReLU."""
        weight, bias = folded(block)
        x = self.node(
            "Conv", x, self.weight(weight), self.weight(bias), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
            strides=list(block.conv.stride),
        )  # fmt: skip
        return self.node("Relu", x)


def write_model(path: Path, net: TaggerNet, side: int) -> None:
    """Write a trained network; probabilities out, NHWC BGR 0 to 255 in."""
    graph = _Graph()
    x = graph.node("Transpose", "input", perm=[0, 3, 1, 2])
    x = graph.node("Sub", graph.node("Div", x, graph.constant(HALF_RANGE)), graph.constant(1.0))
    for layer in net.layers:
        if isinstance(layer, Residual):
            x = graph.node("Add", x, graph.convolution(graph.convolution(x, layer.first), layer.second))
        elif isinstance(layer, Convolution):
            x = graph.convolution(x, layer)
    pooled = graph.node("Concat", graph.node("GlobalAveragePool", x), graph.node("GlobalMaxPool", x), axis=1)
    weights = (graph.weight(net.head.weight), graph.weight(net.head.bias))
    logits = graph.node("Gemm", graph.node("Flatten", pooled), *weights, transB=1)
    graph.nodes.append(helper.make_node("Sigmoid", [logits], ["output"], "probabilities"))
    write_bytes(path, _model(graph, side, net.head.out_features).SerializeToString(deterministic=True))


def _model(graph: _Graph, side: int, tags: int) -> onnx.ModelProto:
    takes = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", side, side, 3])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", tags])
    whole = helper.make_graph(graph.nodes, "enogu-mini-tagger", [takes], [gives], graph.weights)
    model = helper.make_model(
        whole, producer_name="enogu", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model
