"""Host kernels of random ONNX graphs between guard pages: no read or write outside a tensor.

    python benchmarks/host_fence.py --graphs 2000            graphs of `byoc.testing.grammar`
    python benchmarks/host_fence.py --first 1234 --graphs 1  one of them

The kernels are those that ship, with LLVM's vectors and schedules; a sanitizer would see others.
Every tensor has a mapping of its own::

    no access │ tensor ............ gap < 64 bytes │ no access        at the end of its pages
    no access │ tensor ... gap                     │ no access        at their beginning

Each graph runs at the end and at the beginning, with one and then another pattern in the gaps; so a
far access ends the process, a write into a gap is seen there, and a read of a gap that matters in
other numbers. Then it runs with indices out of range, which must end in an error of ours.

A graph ends as `clean`, `refused` (no host kernels, an error of byoc), or as one of `crash`,
`overwritten`, `differs`; exit status 1 after one of these. Graphs of symbolic shapes are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

BAD = ("crash", "overwritten", "differs")
_PAGE = mmap.PAGESIZE
_ALIGN = 64
_LIBC = ctypes.CDLL(None, use_errno=True)


class Fenced:
    """An array between two pages that cannot be read."""

    def __init__(self, shape: tuple[int, ...], dtype: str, at_end: bool, fill: int) -> None:
        kind = np.dtype(_numpy_dtype(dtype))
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        pages = max(1, -(-size // _PAGE))
        self.map = mmap.mmap(-1, (pages + 2) * _PAGE)
        raw = np.frombuffer(self.map, np.uint8)
        base = raw.ctypes.data
        self.inside = raw[_PAGE : (pages + 1) * _PAGE]
        self.inside[:] = fill
        self.fill = fill
        room = pages * _PAGE
        self.begin = (room - size) // _ALIGN * _ALIGN if at_end else 0
        self.end = self.begin + size
        self.array = self.inside[self.begin : self.end].view(kind).reshape(shape)
        for page in (base, base + (pages + 1) * _PAGE):
            if _LIBC.mprotect(ctypes.c_void_p(page), _PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def untouched(self) -> bool:
        """Whether nothing was written around the array."""
        around = (self.inside[: self.begin], self.inside[self.end :])
        return all(bool((part == self.fill).all()) for part in around)


def _numpy_dtype(dtype: str) -> Any:
    if dtype == "bool":
        return np.bool_
    import ml_dtypes

    return getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype


class _OverwrittenError(Exception):
    """Something was written around a tensor."""


class Kernels:
    """The lowered `main` of a model, run call by call in fenced memory."""

    def __init__(self, mod: Any) -> None:
        from byoc import host

        self.lowered = host.lower(mod, threads=1)
        self.library = host.build(self.lowered.kernels, threads=1)

    def run(self, arrays: list[Any], at_end: bool, fill: int) -> list[Any]:
        import tvm_ffi
        from tvm import relax

        fences: list[Fenced] = []

        def fenced(shape: Any, dtype: str, value: Any = None) -> Any:
            fence = Fenced(tuple(int(d) for d in shape), dtype, at_end, fill)
            if value is not None:
                fence.array[...] = value
            fences.append(fence)
            return fence.array

        env: dict[Any, Any] = {}
        main = self.lowered.main
        for param, array in zip(main.params, arrays, strict=True):
            env[param] = fenced(array.shape, str(array.dtype), array)

        def value(expr: Any) -> Any:
            if isinstance(expr, relax.Tuple):
                return tuple(value(field) for field in expr.fields)
            if isinstance(expr, relax.TupleGetItem):
                return value(expr.tuple_value)[expr.index]
            if isinstance(expr, relax.Var):
                return env[expr]
            found = np.from_dlpack(expr.value)
            return fenced(found.shape, str(found.dtype), found)

        def empty(ty: Any) -> Any:
            if isinstance(ty, relax.TupleType):
                return tuple(map(empty, ty.fields))
            return fenced(ty.shape.values, str(ty.dtype))

        for block in main.body.blocks:
            for binding in block.bindings:
                bound = binding.value
                name = getattr(getattr(bound, "op", None), "name", "")
                if name == "relax.call_tir":
                    out = env[binding.var] = empty(binding.var.ty)
                    given = [*value(bound.args[1]), *(out if isinstance(out, tuple) else (out,))]
                    kernel = self.library.module[bound.args[0].name_hint]
                    kernel(*(tvm_ffi.from_dlpack(a) for a in given))
                elif name == "relax.reshape":
                    shape = [int(d) for d in binding.var.ty.shape.values]
                    env[binding.var] = value(bound.args[0]).reshape(shape)
                else:
                    env[binding.var] = value(bound)
        if not all(fence.untouched() for fence in fences):
            raise _OverwrittenError
        result = value(main.body.body)
        return [np.array(r) for r in (result if isinstance(result, tuple) else (result,))]


def outcome(seed: int) -> tuple[str, str]:
    """How a graph ends, and why."""
    from byoc.errors import ByocError
    from byoc.frontends.onnx.walk import import_onnx
    from byoc.testing.grammar import make_case

    case = make_case(seed)
    if case.more:
        return "symbolic", ""
    try:
        model = import_onnx(case.model)
        kernels = Kernels(model.mod)
    except ByocError as error:
        return "refused", str(error)[:200]
    arrays = [np.asarray(case.inputs[name]) for name in model.inputs]
    try:
        found = [kernels.run(arrays, end, fill) for end in (True, False) for fill in (0xFF, 0x01)]
        for other in found[1:]:
            same = zip(found[0], other, strict=True)
            if not all(a.tobytes() == b.tobytes() for a, b in same):
                return "differs", "the numbers depend on what lies around a tensor"
        for bad in (1 << 20, -(1 << 20), 1 << 30):
            wrong = [np.full_like(a, bad) if a.dtype in (np.int32, np.int64) else a for a in arrays]
            if any(a is not b for a, b in zip(arrays, wrong, strict=True)):
                try:
                    kernels.run(wrong, True, 0xFF)
                except RuntimeError as error:
                    if "outside" not in str(error) and "division" not in str(error):
                        return "differs", str(error)[:200]
    except _OverwrittenError:
        return "overwritten", "something was written around a tensor"
    return "clean", ""


def _forked(seed: int) -> tuple[str, str]:
    """The outcome in a process of its own, which may die."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        try:
            end, why = outcome(seed)
        except BaseException as error:
            end, why = "crash", f"{type(error).__name__}: {error}"[:300]
        os.write(writer, f"{end}\n{why}".encode(errors="replace")[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    status = os.waitpid(pid, 0)[1]
    if status or not text:
        return "crash", f"the process ended with status {status}"
    end, _, why = text.partition("\n")
    return end, why


def main() -> int:
    """Run the graphs that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first graph")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no graph after these")
    args = parser.parse_args()
    import time

    from byoc import host  # noqa: F401  (once, not in every process)
    from byoc.frontends.onnx.walk import import_onnx  # noqa: F401

    begin = time.monotonic()
    ends: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.graphs):
        if time.monotonic() - begin > args.seconds:
            break
        end, why = _forked(seed)
        ends[end] += 1
        if end in BAD:
            print(f"graph {seed}: {end}: {why}", flush=True)
    print(f"graphs {args.first} to {seed}:", dict(ends), flush=True)
    return int(any(ends[end] for end in BAD))


if __name__ == "__main__":
    sys.exit(main())
