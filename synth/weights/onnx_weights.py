"""Read torch weights out of an ONNX file that onnxruntime has quantised dynamically.

Every weight survives such a quantisation as integers with a scale. This module undoes that
arithmetic and names each tensor after the torch module it came from; it never runs the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from synth.weights.sources import ConversionError

Array = npt.NDArray[Any]

_INT8_OPERATORS = ("ConvInteger", "MatMulInteger")
_FLOAT_OPERATORS = ("Conv", "ConvTranspose", "MatMul")
# Fixed tensors of the inverse Fourier transform, which KModel computes rather than stores.
_COMPUTED = ("decoder.generator.istft.", "decoder.generator.stft.")
# The export wraps KModel's decoder as decoder.decoder and all the rest as encoder.
_TENSOR_PREFIXES = (("decoder.decoder.", "decoder."), ("encoder.", ""))
_ENCODER_PARTS = ("bert", "bert_encoder", "text_encoder", "predictor")
_ALBERT_LAYERS = "bert.encoder.albert_layer_groups"


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph indexed the ways the conversion walks it."""

    nodes: tuple[onnx.NodeProto, ...]
    tensors: Mapping[str, onnx.TensorProto]
    producers: Mapping[str, onnx.NodeProto]
    consumers: Mapping[str, tuple[onnx.NodeProto, ...]]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Graph:
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        return cls(
            nodes=tuple(model.graph.node),
            tensors={tensor.name: tensor for tensor in model.graph.initializer},
            producers={name: node for node in model.graph.node for name in node.output},
            consumers={name: tuple(nodes) for name, nodes in consumers.items()},
        )

    def array(self, name: str) -> Array:
        """The stored tensor called ``name``.

        :raises ConversionError: when the graph stores no such tensor.
        """
        if name not in self.tensors:
            raise ConversionError(f"the ONNX file stores no tensor called {name!r}")
        return np.asarray(numpy_helper.to_array(self.tensors[name]))


def dequantize(q: Array, zero_point: Array, scale: Array) -> npt.NDArray[np.float32]:
    """``(q - zero_point) * scale`` as float32; zero_point and scale broadcast against ``q``."""
    return (q.astype(np.float32) - zero_point.astype(np.float32)) * scale.astype(np.float32)


def gates_to_torch(stacked: Array) -> Array:
    """Reorder the first axis of LSTM gates from ONNX's i, o, f, c to torch's i, f, c, o.

    https://onnx.ai/onnx/operators/onnx__LSTM.html and the docs of ``torch.nn.LSTM`` (c is its g).
    """
    i, o, f, c = np.split(stacked, 4, axis=0)
    return np.concatenate([i, f, c, o], axis=0)


def module_path(node_name: str) -> str:
    """The KModel module an ONNX node belongs to: ``/encoder/F0.0/conv1/Conv_quant`` is
    ``predictor.F0.0.conv1``."""
    root, *scopes = node_name.strip("/").split("/")[:-1]
    if root == "decoder":
        parts, scopes = ["decoder"], scopes[1:]
    else:
        # The exporter inlined ProsodyPredictor's children into the encoder's own scope.
        parts = [] if scopes[:1] and scopes[0] in _ENCODER_PARTS else ["predictor"]
    for scope in scopes:
        # An nn.Sequential is written twice: /cnn.0/cnn.0.1 is the module cnn.0.1.
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)


def read_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    """Every weight of the graph under its torch name, float32, in torch's layout.

    Weight norm stays folded, as the export has it: one ``weight``, no ``weight_v``.

    :raises ConversionError: when the graph refers to tensors that it does not store.
    """
    graph = Graph.of(model)
    yield from _plain_tensors(graph)
    for node in graph.nodes:
        for suffix, array in _node_tensors(graph, node):
            path = module_path(node.name)
            if not path.startswith(_COMPUTED) and not _repeats_shared_layer(path):
                yield f"{path}.{suffix}", array


def _plain_tensors(graph: Graph) -> Iterator[tuple[str, Array]]:
    """Biases, norms and the generator's alphas, which the export keeps as named floats."""
    for name, tensor in graph.tensors.items():
        if tensor.data_type != onnx.TensorProto.FLOAT or name.endswith("_scale"):
            continue
        for prefix, replacement in _TENSOR_PREFIXES:
            path = f"{replacement}{name.removeprefix(prefix)}"
            if name.startswith(prefix) and not path.startswith(_COMPUTED):
                yield path, graph.array(name)
                break


def _repeats_shared_layer(path: str) -> bool:
    """ALBERT runs one layer twelve times; the repeats are the scopes numbered _1 to _11."""
    return path.startswith(_ALBERT_LAYERS) and path.rpartition("_")[2].isdigit()


def _node_tensors(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    """The tensors that ``node`` itself carries, under their names within its torch module."""
    if node.op_type in _INT8_OPERATORS:
        yield "weight", _int8_weight(graph, node)
    elif node.op_type in _FLOAT_OPERATORS and node.input[1] in graph.tensors:
        weight = graph.array(node.input[1])
        yield "weight", weight.T if node.op_type == "MatMul" else weight
    elif node.op_type == "DequantizeLinear":
        yield "weight", _embedding(graph, node)
    elif node.op_type == "DynamicQuantizeLSTM":
        yield from _lstm_tensors(graph, node)


def _int8_weight(graph: Graph, node: onnx.NodeProto) -> Array:
    """The float weight behind a ConvInteger (out, in, k) or MatMulInteger (out, in) node."""
    q, zero_point = graph.array(node.input[1]), graph.array(node.input[3])
    weight = dequantize(q, zero_point, _weight_scale(graph, node))
    return weight.T if node.op_type == "MatMulInteger" else weight


def _weight_scale(graph: Graph, node: onnx.NodeProto) -> Array:
    """The weight's scale: the stored factor of the product that rescales the node's output.

    Followed through the graph because the optimiser merges equal tensors, so that names lie.
    """
    step = node
    while step.op_type != "Mul":
        (step,) = graph.consumers[step.output[0]]
    product = graph.producers[step.input[1]]
    (scale,) = (name for name in product.input if name in graph.tensors)
    return graph.array(scale)


def _embedding(graph: Graph, node: onnx.NodeProto) -> Array:
    """The float table (rows, width) behind a Gather that is dequantised after the look-up."""
    table = graph.array(graph.producers[node.input[0]].input[0])
    return dequantize(table, graph.array(node.input[2]), graph.array(node.input[1]))


def _lstm_tensors(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    """The eight tensors of a bidirectional LSTM under torch's names.

    Input layout: com.microsoft.DynamicQuantizeLSTM, X W R B lens h c P W_scale W_zp R_scale R_zp,
    with W (2, in, 4H), R (2, H, 4H) and B (2, 8H).
    """
    weights = {"ih": (1, 8, 9), "hh": (2, 10, 11)}
    biases = dict(zip(weights, np.split(graph.array(node.input[3]), 2, axis=1), strict=True))
    for kind, (q_at, scale_at, zero_at) in weights.items():
        q = graph.array(node.input[q_at])
        scale = graph.array(node.input[scale_at]).reshape(len(q), 1, -1)
        zero_point = graph.array(node.input[zero_at]).reshape(len(q), 1, -1)
        both = dequantize(q, zero_point, scale)
        for suffix, weight, bias in zip(("", "_reverse"), both, biases[kind], strict=True):
            yield f"weight_{kind}_l0{suffix}", gates_to_torch(weight.T)
            yield f"bias_{kind}_l0{suffix}", gates_to_torch(bias)
