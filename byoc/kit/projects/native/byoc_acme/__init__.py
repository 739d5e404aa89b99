"""The vendor acme: matrix products with bias and ReLU, in C++ (acme.cc)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from byoc import Artifact, NativeRuntime, Segment, Vendor
from byoc.kit.capability import Capability, Operand, PatternsOf

CLAIMS = [
    Capability(
        op="matmul",
        inputs=(Operand(rank=(2, 3, 4)), Operand(rank=2, constant=True)),
        tail="bias? nn.relu?",
    )
]


def compile_segment(segment: Segment, options: Any) -> Artifact:
    """Write int64 words: values of inputs, outputs and constants, then a layer per composite."""
    words = [len(segment.values)]
    for ports in (segment.inputs, segment.outputs, list(segment.constants)):
        words += [len(ports), *ports]
    for composite in sorted(segment.composites, key=lambda c: c.nodes[-1]):
        data, weight = segment.nodes[composite.nodes[0]].inputs
        result = segment.nodes[composite.nodes[-1]].outputs[0]
        rows = prod(int(d) for d in segment.type(data).shape[:-1])
        depth, columns = (int(d) for d in segment.type(weight).shape)
        bias, relu = composite.parts.get("bias", -1), int("nn.relu" in composite.parts)
        words += [data, weight, bias, relu, result, rows, depth, columns]
    blob = np.array(words, np.int64).tobytes()
    return Artifact(segment.name, segment.vendor, blob, tuple(segment.constants.values()))


RUNTIME = NativeRuntime("byoc_acme", package="byoc-acme")
VENDOR = Vendor("acme", "0.1.0", PatternsOf(CLAIMS), compile_segment, RUNTIME)
