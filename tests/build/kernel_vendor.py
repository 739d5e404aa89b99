"""A vendor that gives kernels: products with a constant, and sums; made as a user would.

Weights are packed by the vendor (transposed), and products are computed into a value of its own
when a sum follows, so that every part of a `HostArtifact` is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc import HostArtifact, HostRuntime, KernelCall, Segment, TensorType, Vendor
from byoc.kit.capability import Capability, Operand, PatternsOf, Range

SOME = Range(min=1)
CLAIMS = [
    Capability(
        op="matmul",
        inputs=(
            Operand(rank=2, dims={0: SOME, 1: SOME}),
            Operand(rank=2, dims={0: SOME, 1: SOME}, constant=True),
        ),
        tail="bias? nn.relu?",
    ),
    Capability(op="add", inputs=(Operand(rank=2), Operand(rank=2))),
]


def product(rows: int, depth: int, columns: int) -> Any:
    """x @ w, of a transposed w."""
    from tvm import te

    x, w = te.placeholder((rows, depth), name="x"), te.placeholder((columns, depth), name="w")
    k = te.reduce_axis((0, depth), name="k")
    made = te.compute((rows, columns), lambda i, j: te.sum(x[i, k] * w[j, k], k), name="product")
    return te.create_prim_func([x, w, made])


def finish(rows: int, columns: int, bias: bool, relu: bool) -> Any:
    """Add a bias, and cut off what is negative."""
    from tvm import te, tirx

    x, b = te.placeholder((rows, columns), name="x"), te.placeholder((columns,), name="b")
    zero = tirx.const(0.0, "float32")

    def value(i: Any, j: Any) -> Any:
        summed = x[i, j] + b[j] if bias else x[i, j]
        return te.if_then_else(summed < zero, zero, summed) if relu else summed

    return te.create_prim_func([x, *([b] if bias else []), te.compute(x.shape, value)])


def addition(shape: tuple[int, ...]) -> Any:
    """x + y."""
    from tvm import te

    x, y = te.placeholder(shape, name="x"), te.placeholder(shape, name="y")
    return te.create_prim_func([x, y, te.compute(shape, lambda *i: x(*i) + y(*i))])


def compile_segment(segment: Segment, options: Any) -> HostArtifact:
    """Compile two kernels at most for each composite."""
    import tvm

    kernels: dict[str, Any] = {}
    calls: list[KernelCall] = []
    values: list[TensorType] = []
    constants: dict[int, Any] = {}

    def new(kind: TensorType) -> int:
        values.append(kind)
        return len(segment.values) + len(values) - 1

    for number, composite in enumerate(sorted(segment.composites, key=lambda c: c.nodes[-1])):
        nodes = [segment.nodes[n] for n in composite.nodes]
        source = tuple(name for node in nodes for name in node.source)
        a, b = nodes[0].inputs
        result = nodes[-1].outputs[0]
        shape = tuple(map(int, segment.type(result).shape))
        if nodes[0].op == "add":
            kernels[f"add{number}"] = addition(shape)
            calls.append(KernelCall(f"add{number}", (a, b), (result,), source))
            continue
        rows, depth = map(int, segment.type(a).shape)
        weight = new(TensorType((shape[1], depth), "float32"))
        constants[weight] = np.ascontiguousarray(segment.constants[b].T)
        bias = (composite.parts["bias"],) if "bias" in composite.parts else ()
        tail = bool(bias) or "nn.relu" in composite.parts
        made = new(segment.type(result)) if tail else result
        kernels[f"product{number}"] = product(rows, depth, shape[1])
        calls.append(KernelCall(f"product{number}", (a, weight), (made,), source))
        if tail:
            kernels[f"finish{number}"] = finish(*shape, bool(bias), "nn.relu" in composite.parts)
            calls.append(KernelCall(f"finish{number}", (made, *bias), (result,), source))
    return HostArtifact(
        segment.name, segment.vendor, tvm.IRModule(kernels), tuple(calls), tuple(values), constants,
        (f"{len(calls)} kernels",),
    )  # fmt: skip


VENDOR = Vendor("tiny", "1.0", PatternsOf(CLAIMS), compile_segment, HostRuntime())
