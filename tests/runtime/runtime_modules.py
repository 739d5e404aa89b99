"""TVMScript of the tests. TVM reads it from the source of the module that a class says it is in, so
it cannot be in a conftest.py: there are several modules of that name, and the last one wins.
"""

from __future__ import annotations

from typing import Any


def kernels() -> Any:
    """add_one: B = A + 1 on float32[64, 16], parallel and vectorised."""
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

    return Kernels


def branching() -> Any:
    """main(x: [n, 4], y: [n, 4], c: bool): s = seg(x); c ? (s + y, s) : (s * y, s)."""
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

    return Module
