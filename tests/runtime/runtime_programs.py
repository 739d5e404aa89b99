"""Programs made by hand, whose one vendor computes in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.runtime import Plan, PortType, Program, VendorUse
from byoc.runtime.plan import PlanTensor, Port, Task
from byoc.segment import Artifact, TensorType
from byoc.vendor import PythonRuntime


def _python_init(blob: bytes, constants: Any, options: Any) -> Any:
    """A vendor in numpy: the blob is an expression of x (inputs), c (constants), o (options)."""

    def execute(inputs: Any, outputs: Any) -> None:
        results = eval(blob.decode(), {"x": inputs, "c": constants, "o": options, "np": np})
        if not isinstance(results, tuple):
            results = (results,)
        for out, result in zip(outputs, results, strict=True):
            out[...] = result

    return execute


NUMPY = PythonRuntime(_python_init)


def use_numpy(**options: Any) -> dict[str, VendorUse]:
    return {"numpy": VendorUse("1.0", options, NUMPY)}


def elementwise(
    expression: str,
    shape: tuple[int, ...] = (2, 3),
    dtype: str = "float32",
    inputs: int = 1,
    constants: tuple[Any, ...] = (),
    **options: Any,
) -> Program:
    """y = expression of x[0], x[1], …: one segment of the numpy vendor."""
    names = [f"x{i}" for i in range(inputs)]
    tensors = [PlanTensor(shape, dtype, "input", i) for i in range(inputs)]
    tensors.append(PlanTensor(shape, dtype, "output"))
    ids = tuple(range(inputs + 1))
    plan = Plan(
        inputs=tuple(Port(n, i) for i, n in enumerate(names)),
        outputs=(Port("y", inputs),),
        tensors=tuple(tensors),
        tasks=(Task("segment", "numpy_0", ids, 1, source=("layer/op",)),),
        arena_bytes=0,
    )
    kind = TensorType(shape, dtype)
    return Program(
        "elementwise",
        tuple(PortType(n, kind) for n in names),
        (PortType("y", kind),),
        plan,
        artifacts=(Artifact("numpy_0", "numpy", expression.encode(), constants),),
        vendors=use_numpy(**options),
    )
