"""A small ONNX graph writer that names things the way torch.onnx does.

In: calls, one per node. Out: a checked model whose names an exporter could have given.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from byoc.dims import Dim
from byoc.segment import Array

__all__ = ["Builder"]


class Builder:
    """Collects nodes and initialisers of one graph.

    Names follow torch.onnx: a node is ``/module/path/OpType`` (then ``OpType_1`` …), its result
    ``<node>_output_0``; a parameter is ``module.path.weight``.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._scope: list[str] = []
        self._used: Counter[str] = Counter()

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Put nodes made inside the block under a module's path, relative to the scope around.

        Args:
            path: Like "encoder/layer.0".

        """
        parts = path.split("/")
        self._scope.extend(parts)
        yield
        del self._scope[-len(parts) :]

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        """Append a node and return the name of its first result; `ops` returns all of them.

        Args:
            op_type: The ONNX operator.
            *inputs: Names of its inputs.
            outputs: How many results it has.
            **attrs: Its attributes.
        """
        return self.ops(op_type, *inputs, outputs=outputs, **attrs)[0]

    def ops(self, op_type: str, *inputs: str, outputs: int, **attrs: Any) -> list[str]:
        """Append a node and return the names of all its results.

        Args:
            op_type: The ONNX operator.
            *inputs: Names of its inputs.
            outputs: How many results it has.
            **attrs: Its attributes.

        """
        base = "/" + "/".join([*self._scope, op_type])
        count = self._used[base]
        self._used[base] += 1
        name = f"{base}_{count}" if count else base
        results = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), results, name=name, **attrs))
        return results

    def constant(self, value: Array | float | Sequence[int]) -> str:
        """Append a `Constant` node and return its name.

        Args:
            value: A float becomes a scalar of float32, a sequence an int64 vector; an array stays.

        """
        if isinstance(value, float):
            array: Array = np.array(value, np.float32)
        elif isinstance(value, np.ndarray):
            array = value
        else:
            array = np.array(value, np.int64)
        return self.op("Constant", value=numpy_helper.from_array(array))

    def parameter(self, name: str, array: Array) -> str:
        """Add an initialiser named after the module around it (``module.path.<name>``).

        Args:
            name: The last part of the name.
            array: Its value.

        Returns:
            The whole name.
        """
        full = ".".join([*self._scope, name])
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), full))
        return full

    def folded(self, op_type: str, array: Array) -> str:
        """Add an initialiser named as torch.onnx names those it folds (``onnx::<op>_<n>``).

        Args:
            op_type: The operator in the name.
            array: Its value.

        Returns:
            The name.
        """
        name = f"onnx::{op_type}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def batch_and_sequence(
        self, value: str, batch: Dim, sequence: Dim
    ) -> tuple[str | int, str | int]:
        """Return the first two dimensions of a value, for use in shapes.

        Args:
            value: The name of a value [batch, sequence, …].
            batch: Size, or name of a symbolic dimension.
            sequence: Size, or name of a symbolic dimension.

        Returns:
            Each dimension's size, or where it is symbolic the name of an int64 scalar that nodes
            read off the value's shape.
        """

        def read(dim: Dim, axis: int) -> str | int:
            if isinstance(dim, int):
                return dim
            shape = self.op("Shape", value)
            return self.op("Gather", shape, self.constant(np.array(axis, np.int64)), axis=0)

        return read(batch, 0), read(sequence, 1)

    def vector(self, dim: str | int) -> str:
        """Return a dimension (int, or name of a scalar) as an int64 vector of one."""
        if isinstance(dim, int):
            return self.constant([dim])
        return self.op("Unsqueeze", dim, self.constant([0]))

    def normal(self, shape: Sequence[int], std: float, mean: float = 0.0) -> Array:
        """Draw a float32 array from a normal distribution.

        Args:
            shape: Its shape.
            std: The standard deviation.
            mean: The mean.
        """
        return self.rng.standard_normal(shape, np.float32) * np.float32(std) + np.float32(mean)

    def input(self, name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT) -> str:
        """Declare an input of the model.

        Args:
            name: Its name.
            shape: Sizes, or names of symbolic dimensions.
            dtype: Its element type, a value of ``TensorProto.DataType``.

        Returns:
            Its name.
        """
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, value: str, name: str, shape: Sequence[Dim]) -> None:
        """Declare a value as a float32 output of the model, and rename it accordingly.

        Args:
            value: The name of the value so far.
            name: The name of the output.
            shape: Sizes, or names of symbolic dimensions.
        """
        for node in self.nodes:
            node.output[:] = [name if o == value else o for o in node.output]
            node.input[:] = [name if i == value else i for i in node.input]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def model(self, opset: int = 17) -> onnx.ModelProto:
        """Return the model, checked by the onnx package."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, self.initializers
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            producer_name="byoc-zoo",
            ir_version=8,
        )
        onnx.checker.check_model(model)
        return model
