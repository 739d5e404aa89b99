"""Programs to run: kernels and VM executables compiled by TVM once per test run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
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
    """add_one: B = A + 1 on float32[64, 16], parallel and vectorised, as a shared object."""
    import tvm
    from tvm.script import ir as I
    from tvm.script import tirx as T

    @I.ir_module(s_tir=True)
    class Kernels:
        @T.prim_func(s_tir=True)
        def add_one(a: T.handle, b: T.handle):
            A = T.match_buffer(a, (64, 16), "float32")
            B = T.match_buffer(b, (64, 16), "float32")
            for i in T.parallel(64):
                for j in T.vectorized(16):
                    with T.sblock("b"):
                        vi, vj = T.axis.remap("SS", [i, j])
                        B[vi, vj] = A[vi, vj] + T.float32(1)

    return _export(tvm.compile(Kernels, target=tvm.target.Target.from_device("cpu")))


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
    """main(x: [n, 4], y: [n, 4], c: bool): s = seg(x); c ? (s + y, s) : (s * y, s)."""
    import tvm
    from tvm.script import ir as I
    from tvm.script import relax as R
    from tvm.script import tirx as T

    @I.ir_module
    class Module:
        @R.function
        def main(
            x: R.Tensor(("n", 4), "float32"),
            y: R.Tensor(("n", 4), "float32"),
            c: R.Tensor((), "bool"),
        ) -> R.Tuple(R.Tensor(("n", 4), "float32"), R.Tensor(("n", 4), "float32")):
            n = T.int64()
            s = R.call_dps_packed("numpy_0", (x,), out_ty=R.Tensor((n, 4), "float32"))
            if c:  # noqa: SIM108
                z = R.add(s, y)
            else:
                z = R.multiply(s, y)
            return (z, s)

    return tvm.compile(Module, tvm.target.Target.from_device("cpu"))


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
