"""The walk over a segment's nodes: what each value is by now, and the graph that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Node, Segment
from byoc.vendor_templates.npu.lowering.int8_graph import Border, Int8Graph, Permute
from byoc.vendor_templates.npu.lowering.values import (
    Layout,
    Params,
    Real,
    Shape,
    Stored,
    Value,
    order_of,
)

__all__ = ["Lowering", "Rule"]


Rule: TypeAlias = "Callable[[Lowering, Node], Value]"
"""An op of the segment -> what its result is."""


class Lowering:
    """One segment being lowered.

    Args:
        segment: The segment.

    Attributes:
        graph: The int8 graph so far.
        values: Value id -> what it is by now.
        fed: Inputs that were quantised already, by (value, scale, zero, dtype).
        default: The layout of inputs.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.graph = Int8Graph(
            segment.name, inputs=len(segment.inputs), outputs=len(segment.outputs)
        )
        self.values: dict[int, Value] = {}
        self.fed: dict[tuple[int, float, int, str], Stored] = {}
        layouts = {str(n.attrs.get("data_layout") or n.attrs.get("layout")) for n in segment}
        self.default: Layout = "last" if layouts & {"NHWC", "NWC"} else "first"

    def run(self, rules: Mapping[str, Rule]) -> Int8Graph:
        """Lower the segment with a rule for each op.

        Raises:
            CompileError: An op has no rule or cannot be computed; the message names it.
        """
        for index, value in enumerate(self.segment.inputs):
            kind = self.segment.type(value)
            if kind.dtype in ("int8", "uint8"):
                stored = self.new(self.shape(value), self.default, kind.dtype, 1.0, 0, "input")
                self.values[value] = stored
                self.border(self.graph.feeds, stored, index, kind.dtype, 1.0, 0)
        for node in self.segment.nodes:
            rule = rules.get(node.op)
            if rule is None:
                raise CompileError(f"{self.where(node)}: the npu has no rule for {node.op!r}")
            self.values[node.outputs[0]] = rule(self, node)
        for index, value in enumerate(self.segment.outputs):
            found = self.values[value]
            if isinstance(found, Stored):
                self.border(self.graph.results, found, index, found.dtype, 1.0, 0)
            elif isinstance(found, Real):
                self.border(
                    self.graph.results, found.stored, index, "float32", found.scale, found.zero
                )
            else:
                raise CompileError(
                    f"segment {self.segment.name!r}: output {index} is float and not quantised"
                )
        return self.graph

    # -- values ---------------------------------------------------------------------------------

    def where(self, node: Node) -> str:
        """Return how an error names an op."""
        name = node.source[0] if node.source else node.op
        return f"npu: op {name!r} of segment {self.segment.name!r}"

    def shape(self, value: int) -> Shape:
        """Return the shape of a value of the segment."""
        return tuple(int(d) for d in self.segment.type(value).shape)

    def new(
        self, shape: Shape, layout: Layout, dtype: str, scale: float, zero: int, name: str
    ) -> Stored:
        """Add a tensor to the device.

        Args:
            shape: Logical shape.
            layout: Where its channels lie.
            dtype: "int8" or "uint8", as the model counts.
            scale: Real value of one step.
            zero: Zero point as the device counts.
            name: Name of the tensor, for messages.
        """
        return Stored(self.graph.new(prod(shape), scale, zero, name), shape, layout, dtype)

    def border(
        self,
        borders: list[Border],
        stored: Stored,
        argument: int,
        dtype: str,
        scale: float,
        zero: int,
    ) -> None:
        """Note that a tensor enters or leaves the device as an argument of the segment.

        Args:
            borders: The list to append to, the graph's feeds or results.
            stored: The tensor.
            argument: Number of the input or output of the segment, counted from 0.
            dtype: "int8" or "uint8" for raw bytes, "float32" for real values.
            scale: Real value of one step.
            zero: Zero point as the device counts.
        """
        order = order_of(len(stored.shape), stored.layout)
        borders.append(Border(stored.tensor, argument, stored.shape, order, dtype, scale, zero))

    def value(self, node: Node, index: int) -> Value | Array:
        """Return what an op's input is by now, or the array of a constant.

        Args:
            node: The op.
            index: Number of the input.

        Raises:
            CompileError: It is float and was not dequantised.
        """
        value = node.inputs[index]
        if value in self.values:
            return self.values[value]
        constant = self.segment.constants.get(value)
        if constant is None:
            raise CompileError(f"{self.where(node)}: input {index} is float, not dequantised")
        return constant

    def real(self, node: Node, index: int) -> Real:
        """Return an op's input, which has to be a dequantised tensor.

        Args:
            node: The op.
            index: Number of the input.

        Raises:
            CompileError: The input is something else.
        """
        found = self.value(node, index)
        if not isinstance(found, Real):
            raise CompileError(
                f"{self.where(node)}: input {index} must be a dequantised tensor, "
                f"found {type(found).__name__.lower()}"
            )
        return found

    def constant(self, node: Node, index: int) -> Params | Array | None:
        """Return an op's input when it is constant, else None.

        Args:
            node: The op.
            index: Number of the input.

        Raises:
            CompileError: The input is float and was not dequantised.
        """
        found = self.value(node, index)
        return found if isinstance(found, (Params, np.ndarray)) else None

    def in_layout(self, stored: Stored, layout: Layout) -> Stored:
        """Return a tensor of the same values whose memory is in the given order.

        A Permute is added to the graph only where the bytes differ.

        Args:
            stored: The tensor as it lies.
            layout: Where its channels shall lie.
        """
        if stored.layout == layout:
            return stored
        rank = len(stored.shape)
        if rank < 3 or stored.shape[1] == 1 or prod(stored.shape[2:]) == 1:
            return replace(stored, layout=layout)
        channels, pixels = stored.shape[1], prod(stored.shape[2:])
        a, b = (pixels, channels) if stored.layout == "first" else (channels, pixels)
        old = self.graph.tensors[stored.tensor]
        moved = self.new(stored.shape, layout, stored.dtype, old.scale, old.zero, old.name)
        self.graph.operations.append(
            Permute(stored.tensor, moved.tensor, stored.shape[0], a, b, old.name)
        )
        return moved
