"""LiteRT, the reference."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

XNNPACK = OpResolverType.AUTO
"""What users get."""
BUILTIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
"""Without XNNPACK: fixed-point requantisation."""


def run(data: bytes, *inputs: np.ndarray, kernels: OpResolverType = BUILTIN) -> list[np.ndarray]:
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=kernels, num_threads=1
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]
