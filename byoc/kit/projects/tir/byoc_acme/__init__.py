"""The vendor acme: each composite becomes a kernel that TVM compiles; the blob is a library."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byoc import Artifact, PythonRuntime, Segment, Vendor
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
    )
]


def kernel(rows: int, depth: int, columns: int, bias: bool, relu: bool) -> Any:
    """One layer in tensor expressions, scheduled."""
    from tvm import s_tir, te, tirx

    x, w = te.placeholder((rows, depth), name="x"), te.placeholder((depth, columns), name="w")
    b = te.placeholder((columns,), name="b")
    k = te.reduce_axis((0, depth), name="k")
    made = te.compute((rows, columns), lambda i, j: te.sum(x[i, k] * w[k, j], k), "product")
    summed = te.compute(made.shape, lambda i, j: made[i, j] + b[j]) if bias else made
    y, zero = summed, tirx.const(0.0, "float32")
    if relu:  # keeps NaN
        y = te.compute(
            made.shape,
            lambda i, j: te.if_then_else(summed[i, j] < zero, zero, summed[i, j]),
        )
    schedule = s_tir.Schedule(te.create_prim_func([x, w, *([b] if bias else []), y]))
    row, column, inner = schedule.get_loops(schedule.get_sblock("product"))
    schedule.reorder(row, inner, column)
    return schedule.mod["main"]


def compile_segment(segment: Segment, options: Any) -> Artifact:
    """Compile a kernel for each composite; the blob is a plan in JSON, and the library."""
    import tvm

    kernels: dict[str, Any] = {}
    steps: list[Any] = []
    for composite in sorted(segment.composites, key=lambda c: c.nodes[-1]):
        data, weight = segment.nodes[composite.nodes[0]].inputs
        result = segment.nodes[composite.nodes[-1]].outputs[0]
        rows, depth = map(int, segment.type(data).shape)
        columns = int(segment.type(weight).shape[1])
        bias = [composite.parts["bias"]] if "bias" in composite.parts else []
        made = kernel(rows, depth, columns, bool(bias), "nn.relu" in composite.parts)
        name = f"acme_{len(steps)}"
        kernels[name] = made.with_attr("global_symbol", name)
        steps.append([name, [data, weight, *bias], result, [rows, columns]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segment.so"
        tvm.compile(tvm.IRModule(kernels), target="llvm").export_library(str(path))
        library = path.read_bytes()
    plan = json.dumps([segment.inputs, segment.outputs, list(segment.constants), steps]).encode()
    blob = len(plan).to_bytes(8, "little") + plan + library
    return Artifact(segment.name, segment.vendor, blob, tuple(segment.constants.values()))


def aligned(array: Any) -> Any:
    """The array, or a copy that kernels can take: memory from a multiple of 64, not read-only."""
    if array.ctypes.data % 64 == 0 and array.flags.writeable:
        return array
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def init(blob: bytes, constants: Sequence[Any], options: Mapping[str, Any]) -> Callable[..., None]:
    """Load the library; what a call changes belongs to the call."""
    import tvm_ffi

    size = int.from_bytes(blob[:8], "little")
    reads, writes, known, steps = json.loads(blob[8 : 8 + size])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"acme-{id(blob)}.so"
        path.write_bytes(blob[8 + size :])
        module = tvm_ffi.load_module(str(path))
    calls = [module.get_function(name) for name, *_ in steps]
    kept = dict(zip(known, map(aligned, constants), strict=True))

    def execute(inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        values = {**kept, **dict(zip(reads, map(aligned, inputs), strict=True))}
        for call, (_, operands, result, shape) in zip(calls, steps, strict=True):
            values[result] = aligned(np.empty(shape, np.float32))
            call(*(tvm_ffi.from_dlpack(values[value]) for value in (*operands, result)))
        for array, value in zip(outputs, writes, strict=True):
            np.copyto(array, values[value])

    return execute


VENDOR = Vendor("acme", "0.1.0", PatternsOf(CLAIMS), compile_segment, PythonRuntime(init))
