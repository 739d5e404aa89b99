"""The networks of models/ in the form in which ONNX exporters write them: NCHW, QDQ.

Written without the frontend under test, so that both ways can be compared: same coverage by
vendors, same numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

DTYPES = {0: np.float32, 2: np.int32, 4: np.int64, 7: np.int16, 9: np.int8}
CODES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


class Translation:
    def __init__(self, path: Path):
        self.model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        self.graph = self.model.subgraphs[0]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.values: dict[int, str] = {}

    def node(self, op: str, inputs: list[str], **attrs) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        return name

    def const(self, array) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def array(self, index: int) -> np.ndarray:
        t = self.graph.tensors[index]
        raw = bytes(self.model.buffers[t.buffer].data)
        return np.frombuffer(raw, DTYPES[t.type]).reshape(t.shape if t.shape is not None else ())

    def scales(self, index: int, dtype=None):
        t = self.graph.tensors[index]
        q = t.quantization
        if q is None or q.scale is None or not len(q.scale):
            return None
        pick = (lambda v: v[0]) if len(q.scale) == 1 else (lambda v: v)
        kind = dtype or DTYPES[t.type]
        return [
            self.const(np.asarray(pick(q.scale), np.float32)),
            self.const(np.asarray(pick(q.zeroPoint), kind)),
        ]

    def read(self, index: int) -> str:
        found = self.scales(index)
        value = self.values[index]
        return value if found is None else self.node("DequantizeLinear", [value, *found])

    def weight(self, index: int, axes, axis: int) -> str:
        array, found = self.array(index).transpose(axes), self.scales(index)
        if found is None:
            return self.const(array)
        return self.node("DequantizeLinear", [self.const(array), *found], axis=axis)

    def bias(self, index: int) -> str:
        array, q = self.array(index), self.graph.tensors[index].quantization
        if array.dtype == np.int64:  # ONNX dequantises no int64
            return self.const((array * np.float64(q.scale)).astype(np.float32))
        found = self.scales(index)
        stored = self.const(array)
        return stored if found is None else self.node("DequantizeLinear", [stored, *found], axis=0)

    def same(self, code: int, size, kernel, strides) -> list[int]:
        if code == 1:
            return [0, 0, 0, 0]
        total = [
            max(0, (-(-n // s) - 1) * s + k - n)
            for n, k, s in zip(size, kernel, strides, strict=True)
        ]
        return [t // 2 for t in total] + [t - t // 2 for t in total]

    def write(self, index: int, value: str, act: int = 0) -> None:
        if act == 1:
            value = self.node("Relu", [value])
        if act == 3:
            bounds = [self.const(np.float32(v)) for v in (0, 6)]
            value = self.node("Clip", [value, *bounds])
        found = self.scales(index)
        self.values[index] = (
            value if found is None else self.node("QuantizeLinear", [value, *found])
        )

    # -- operators

    def conv(self, op, depthwise: bool) -> None:
        o, (x, w, b), (y,) = op.builtinOptions, op.inputs, op.outputs
        kernel = list(self.graph.tensors[w].shape[1:3])
        strides = [o.strideH, o.strideW]
        size = self.graph.tensors[x].shape[1:3]
        groups = int(self.graph.tensors[x].shape[3]) if depthwise else 1
        axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        out = self.node(
            "Conv", [self.read(x), self.weight(w, axes, 0), self.bias(b)], strides=strides,
            pads=self.same(o.padding, size, kernel, strides), group=groups,
        )  # fmt: skip
        # The range of a result often implies its activation: int8 begins at zero, int16 does not.
        act = o.fusedActivationFunction
        if self.graph.tensors[y].type != 0:
            act = 1 if act and self.graph.tensors[y].type == 7 else 0
        self.write(y, out, act)

    def dense(self, op) -> None:
        (x, w, *b), (y,) = op.inputs, op.outputs
        out = self.node("MatMul", [self.read(x), self.weight(w, (1, 0), 1)])
        if b and b[0] >= 0:
            out = self.node("Add", [out, self.bias(b[0])])
        self.write(y, out)

    def run(self) -> onnx.ModelProto:
        g = self.graph
        (start,) = g.inputs
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[g.tensors[start].type]))
        n, h, w, c = (int(d) for d in g.tensors[start].shape)
        self.values[start] = "x"
        for op in g.operators:
            code = CODES[self.model.operatorCodes[op.opcodeIndex].builtinCode]
            o, y = op.builtinOptions, op.outputs[0]
            if code in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                self.conv(op, code != "CONV_2D")
            elif code == "FULLY_CONNECTED":
                self.dense(op)
            elif code == "ADD":
                self.write(y, self.node("Add", [self.read(i) for i in op.inputs]))
            elif code == "MEAN":
                axes = self.const(np.array([2, 3]))
                mean = self.node("ReduceMean", [self.read(op.inputs[0]), axes], keepdims=0)
                self.write(y, mean)
            elif code == "AVERAGE_POOL_2D":
                size = [o.filterHeight, o.filterWidth]
                assert size == list(g.tensors[op.inputs[0]].shape[1:3])
                self.write(y, self.node("GlobalAveragePool", [self.read(op.inputs[0])]))
            elif code == "RESHAPE":
                shape = self.const(np.array(g.tensors[y].shape, np.int64))
                self.write(y, self.node("Reshape", [self.read(op.inputs[0]), shape]))
            elif code == "SOFTMAX":
                self.write(y, self.node("Softmax", [self.read(op.inputs[0])], axis=-1))
            else:  # what makes the shape of a reshape is known
                assert code in ("SHAPE", "STRIDED_SLICE", "PACK"), code
        (end,) = g.outputs
        result = helper.make_tensor_value_info(
            self.values[end],
            helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[g.tensors[end].type])),
            [int(d) for d in g.tensors[end].shape],
        )
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", kind, [n, c, h, w])], [result],
            self.weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
        onnx.checker.check_model(model)
        return model
