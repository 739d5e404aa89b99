"""A segment of integer products becomes kernels around one instruction.

::

    x ─▶ [pad to multiples of k] ─┐
    zero point ─▶ [start of sums] ┼─▶ product ─▶ y
    weights, packed as constants ─┘
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Composite, HostArtifact, KernelCall, Segment, TensorType
from byoc.vendor_templates.tensorir.emit import (
    SIGNED_SHIFT,
    column_sums,
    packed,
    padded_data,
    product_kernel,
    start_kernel,
)
from byoc.vendor_templates.tensorir.instruction import (
    INSTRUCTIONS,
    Einsum,
    Instruction,
    NoImageError,
    mapping,
)
from byoc.vendor_templates.tensorir.options import TensorirOptions

__all__ = ["chosen", "compile_segment", "compile_with"]


def chosen(options: TensorirOptions) -> Instruction:
    """Return the instruction that options ask for.

    Args:
        options: The vendor's.

    Raises:
        CompileError: This CPU does not have it.
    """
    from byoc.tir.features import cpu_features_of_llvm

    there = cpu_features_of_llvm()
    wanted = [i for i in INSTRUCTIONS if options.instruction in ("auto", i.name)]
    usable = [i for i in wanted if there.issuperset(i.features)]
    if not usable:
        needed = ", ".join(wanted[0].features)
        raise CompileError(
            f"instruction={options.instruction!r} needs {needed}, which this CPU lacks; "
            f"leave it 'auto'"
        )
    return usable[0]


def compile_segment(segment: Segment, options: TensorirOptions) -> HostArtifact:
    """Compile a segment.

    Args:
        segment: Of composites that the patterns took.
        options: Which instruction.

    Returns:
        Kernels.

    Raises:
        CompileError: This CPU does not have the instruction.
    """
    return compile_with(segment, chosen(options))


def compile_with(segment: Segment, instruction: Instruction) -> HostArtifact:
    """Compile a segment by an instruction of anybody's.

    Args:
        segment: Of composites that the patterns took.
        instruction: ``k, nk -> n`` in some sizes.

    Raises:
        CompileError: The op has no image of an iterator of the instruction.
    """
    import tvm

    work = _Work(segment, instruction)
    for composite in sorted(segment.composites, key=lambda c: c.nodes[-1]):
        work.product(composite)
    inside = ", ".join(dict.fromkeys(work.notes))
    return HostArtifact(
        segment.name,
        segment.vendor,
        tvm.IRModule(work.kernels),
        tuple(work.calls),
        tuple(work.values),
        work.constants,
        (inside,),
    )


class _Work:
    """What has been made of a segment so far."""

    def __init__(self, segment: Segment, instruction: Instruction) -> None:
        self.segment, self.instruction = segment, instruction
        self.kernels: dict[str, Any] = {}
        self.calls: list[KernelCall] = []
        self.values: list[TensorType] = []
        self.constants: dict[int, Array] = {}
        self.notes: list[str] = []

    def product(self, composite: Composite) -> None:
        parts, segment = composite.parts, self.segment
        nodes = [segment.nodes[n] for n in composite.nodes]
        source = tuple(name for node in nodes for name in node.source)
        data, weight = segment.type(parts["data"]), segment.constants[parts["weight"]]
        shape = tuple(map(int, data.shape))
        columns = int(weight.shape[1])
        self._map(int(np.prod(shape[:-1])), shape[-1], columns, data.dtype)
        x = self._padded(parts["data"], shape, data.dtype, source)
        shift = SIGNED_SHIFT if data.dtype == "int8" else 0
        sums = column_sums(weight, self.instruction)
        if "zero" in parts:
            start = self._start(parts["zero"], sums, shift, source)
        else:
            start = self._constant(-shift * sums)
        kernel = self._kernel(
            "product",
            lambda: product_kernel(self.instruction, self._shape(x), data.dtype, columns),
            (*self._shape(x), data.dtype, columns),
        )
        packed_weight = self._constant(packed(weight, self.instruction))
        result = nodes[-1].outputs[0]
        self.calls.append(KernelCall(kernel, (x, packed_weight, start), (result,), source))

    def _map(self, rows: int, depth: int, columns: int, dtype: str) -> None:
        op = Einsum("mk, kn -> mn", {"m": rows, "k": depth, "n": columns}, (dtype, "int8", "int32"))
        try:
            images = mapping(op, self.instruction)
        except NoImageError as error:
            raise CompileError(
                f"segment {self.segment.name!r}: {error}; another instruction is needed"
            ) from None
        if images != {"n": "n", "k": "k"}:
            raise CompileError(
                f"segment {self.segment.name!r}: kernels are made for instructions "
                f"k, nk -> n, found {self.instruction.desc.text}"
            )
        self.notes.append(f"products by {self.instruction.name}")

    def _padded(self, value: int, shape: tuple[int, ...], dtype: str, source: Any) -> int:
        k = self.instruction.desc.sizes["k"]
        depth = -(-shape[-1] // k) * k
        if depth == shape[-1]:
            return value
        kernel = self._kernel("pad", lambda: padded_data(shape, dtype, depth), (*shape, dtype))
        longer = self._value(TensorType((*shape[:-1], depth), dtype))
        self.calls.append(KernelCall(kernel, (value,), (longer,), source))
        return longer

    def _start(self, zero: int, sums: Array, shift: int, source: Any) -> int:
        kind = self.segment.type(zero)
        shape = tuple(map(int, kind.shape))
        kernel = self._kernel(
            "start",
            lambda: start_kernel(shape, kind.dtype, len(sums), shift),
            (*shape, kind.dtype, len(sums), shift),
        )
        start = self._value(TensorType((len(sums),), "int32"))
        self.calls.append(KernelCall(kernel, (zero, self._constant(sums)), (start,), source))
        return start

    def _kernel(self, name: str, make: Callable[[], Any], key: tuple[object, ...]) -> str:
        full = "_".join(map(str, (name, *key)))
        if full not in self.kernels:
            self.kernels[full] = make()
        return full

    def _value(self, kind: TensorType) -> int:
        self.values.append(kind)
        return len(self.segment.values) + len(self.values) - 1

    def _constant(self, array: Array) -> int:
        value = self._value(TensorType(array.shape, array.dtype.name))
        self.constants[value] = array
        return value

    def _shape(self, value: int) -> tuple[int, ...]:
        known = (*self.segment.values, *self.values)
        return tuple(map(int, known[value].shape))
