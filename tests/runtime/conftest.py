"""Programs to run: kernels and VM executables compiled by TVM once per test run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from runtime_modules import branching, kernels
from runtime_programs import NUMPY, elementwise, use_numpy

from byoc.runtime import Plan, PortType, Program, VmProgram
from byoc.runtime.plan import PlanTensor, Port, Task
from byoc.segment import Artifact, TensorType
from byoc.vendor import PythonRuntime


@pytest.fixture
def make() -> Callable[..., Program]:
    return elementwise


@pytest.fixture(scope="session")
def resolver() -> Callable[[str], PythonRuntime]:
    return lambda name: NUMPY


@pytest.fixture(scope="session")
def kernel_library() -> bytes:
    """`kernels` as a shared object."""
    import tvm

    return _export(tvm.compile(kernels(), target=tvm.target.Target.from_device("cpu")))


def _export(executable: Any) -> bytes:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lib.so"
        executable.export_library(str(path))
        return path.read_bytes()


@pytest.fixture(scope="session")
def kernel_program(kernel_library: bytes) -> Program:
    """y = x + 1 + 1 + w: two host kernels around the arena, then a segment with a constant."""
    shape, dtype = (64, 16), "float32"
    plan = Plan(
        inputs=(Port("x", 0),),
        outputs=(Port("y", 1),),
        tensors=(
            PlanTensor(shape, dtype, "input"),
            PlanTensor(shape, dtype, "output"),
            PlanTensor(shape, dtype, "arena", 0, 0),
            PlanTensor(shape, dtype, "arena", 0, 4096),
            PlanTensor(shape, dtype, "constant"),
        ),
        tasks=(
            Task("host", "add_one", (0, 2), 1, source=("first",)),
            Task("host", "add_one", (2, 3), 1, (0,), source=("second",)),
            Task("segment", "numpy_0", (3, 4, 1), 1, (1,), source=("third",)),
        ),
        arena_bytes=8192,
    )
    kind = TensorType(shape, dtype)
    return Program(
        "kernels",
        (PortType("x", kind),),
        (PortType("y", kind),),
        plan,
        host=kernel_library,
        artifacts=(Artifact("numpy_0", "numpy", b"x[0] + x[1]"),),
        vendors=use_numpy(),
        constants=(np.full(shape, 0.5, "float32"),),
    )


@pytest.fixture(scope="session")
def vm_executable() -> Any:
    """`branching`, compiled for the VM."""
    import tvm

    return tvm.compile(branching(), tvm.target.Target.from_device("cpu"))


@pytest.fixture(scope="session")
def vm_program(vm_executable: Any) -> Program:
    n4 = TensorType(("n", 4), "float32")
    return Program(
        "dynamic",
        (PortType("x", n4), PortType("y", n4), PortType("c", TensorType((), "bool"))),
        (PortType("z", n4), PortType("s", n4)),
        VmProgram(),
        host=_export(vm_executable),
        artifacts=(Artifact("numpy_0", "numpy", b"x[0] + 1"),),
        vendors=use_numpy(),
        segment_outputs={"numpy_0": 1},
    )
