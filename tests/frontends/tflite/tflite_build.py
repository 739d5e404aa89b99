"""TFLite files written by hand: tensors, operators, bytes."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7,
    "int8": 9, "int4": 17,
}  # fmt: skip


class Builder:
    """A model of one subgraph.

    x = b.input((1, 4)); b.op("RELU", [x], [b.tensor((1, 4))]); b.build()
    """

    def __init__(self) -> None:
        self.buffers: list[Any] = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.codes: list[Any] = []
        self.names: list[str] = []
        self.operators: list[Any] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        data: Any = None,
        scale: Any = None,
        zero: Any = 0,
        axis: int = 0,
        name: str = "",
    ) -> int:
        t = schema.TensorT()
        t.shape, t.type = list(shape), TYPES[dtype]
        t.name = name or f"t{len(self.tensors)}"
        if scale is not None:
            q = t.quantization = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.ravel(scale)]
            q.zeroPoint = [int(z) for z in np.broadcast_to(zero, len(q.scale))]
            q.quantizedDimension = axis
        if data is not None:
            buffer = schema.BufferT()
            raw = data if isinstance(data, bytes) else np.asarray(data, dtype).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(t)
        return len(self.tensors) - 1

    def const(self, array: Any, dtype: str = "", **quantisation: Any) -> int:
        array = np.asarray(array)
        return self.tensor(array.shape, dtype or array.dtype.name, array, **quantisation)

    def input(self, shape: tuple[int, ...], dtype: str = "float32", **more: Any) -> int:
        self.inputs.append(self.tensor(shape, dtype, **more))
        return self.inputs[-1]

    def op(
        self, code: str, inputs: list[int], outputs: list[int], options: str = "", **values: Any
    ) -> list[int]:
        """options: the class of the options ("Conv2DOptions"), values: its fields."""
        c = schema.OperatorCodeT()
        if hasattr(schema.BuiltinOperator, code):
            c.builtinCode = getattr(schema.BuiltinOperator, code)
            c.deprecatedBuiltinCode = min(c.builtinCode, 127)
        else:
            c.builtinCode = c.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            c.customCode = code
        c.version = values.pop("version", 1)
        self.codes.append(c)
        self.names.append(code)
        o = schema.OperatorT()
        o.opcodeIndex = len(self.codes) - 1
        o.inputs, o.outputs = inputs, outputs
        if options:
            o.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            o.builtinOptions = getattr(schema, options + "T")()
            for key, value in values.items():
                assert hasattr(o.builtinOptions, key), key
                setattr(o.builtinOptions, key, value)
        self.operators.append(o)
        return outputs

    def build(self) -> bytes:
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = self.inputs, self.outputs
        m = schema.ModelT()
        m.version, m.description = 3, "byoc test"
        m.operatorCodes, m.subgraphs, m.buffers = self.codes, [graph], self.buffers
        writer = flatbuffers.Builder(1024)
        writer.Finish(m.Pack(writer), b"TFL3")
        return bytes(writer.Output())
