"""The vendor acme: matrix products with bias and ReLU, computed by numpy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from byoc import Artifact, PythonRuntime, Segment, Vendor
from byoc.kit.capability import Capability, Operand, PatternsOf

CLAIMS = [
    Capability(
        op="matmul",
        inputs=(Operand(), Operand(rank=2, constant=True)),
        tail="bias? nn.relu?",
    )
]
STEPS: dict[str, Any] = {"matmul": np.matmul, "add": np.add, "nn.relu": lambda x: np.maximum(x, 0)}


def compile_segment(segment: Segment, options: Any) -> Artifact:
    """Write the segment down as a list of steps over numbered values."""
    steps = [[node.op, node.inputs, node.outputs[0]] for node in segment]
    ports = [segment.inputs, segment.outputs, list(segment.constants)]
    blob = json.dumps([*ports, steps]).encode()
    return Artifact(segment.name, segment.vendor, blob, tuple(segment.constants.values()))


def init(blob: bytes, constants: Sequence[Any], options: Mapping[str, Any]) -> Callable[..., None]:
    """Prepare one segment; what a call changes belongs to the call."""
    reads, writes, known, steps = json.loads(blob)

    def execute(inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        values = dict(zip([*known, *reads], [*constants, *inputs], strict=True))
        for op, operands, result in steps:
            values[result] = STEPS[op](*(values[value] for value in operands))
        for array, value in zip(outputs, writes, strict=True):
            np.copyto(array, values[value])

    return execute


VENDOR = Vendor("acme", "0.1.0", PatternsOf(CLAIMS), compile_segment, PythonRuntime(init))
