"""The other process of `byoc.testing.reloaded`: loads artifacts and runs them, without TVM.

    python fresh_process.py python              through byoc.load, as a server in Python would
    python fresh_process.py c LIBRARIES...      through byoc_open, without byoc's Python; byoc's
                                                library is the last, the others it needs

One pickled request follows the other on stdin: (path, inputs of each run). One answer each on
stdout: ("ok", outputs of each run) or ("error", kind, message). Tensors are (dtype, shape, bytes).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Packed", "Tensor", "packed"]

Tensor = tuple[str, tuple[int, ...], bytes]
Packed = dict[str, Tensor]
"""Name → its tensor."""

_COMPILER = "libtvm_compiler"


def packed(arrays: dict[str, Any]) -> Packed:
    """Return arrays as what can be sent, whatever their dtype."""
    found = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {
        name: (str(array.dtype), np.shape(arrays[name]), array.tobytes())
        for name, array in found.items()
    }


def _array(tensor: Tensor) -> Any:
    dtype, shape, data = tensor
    try:
        kind = np.dtype(dtype)
    except TypeError:
        import ml_dtypes

        kind = np.dtype(getattr(ml_dtypes, dtype))
    return np.frombuffer(data, kind).reshape(shape).copy()


def _in_python(path: str, runs: Sequence[Packed]) -> list[Packed]:
    import byoc

    exe = byoc.load(path)
    results = []
    for inputs in runs:
        results.append(packed(exe.run({name: _array(t) for name, t in inputs.items()})))
    if "tvm" in sys.modules:
        raise RuntimeError("byoc.load or a run imported tvm")
    if _COMPILER in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace"):
        raise RuntimeError(f"byoc.load or a run loaded {_COMPILER}")
    return results


class _Port(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("rank", ctypes.c_size_t),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("bytes", ctypes.c_size_t),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


def _in_c(libraries: Sequence[str]) -> Callable[[str, Sequence[Packed]], list[Packed]]:
    *_, c = [ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL) for library in libraries]
    c.byoc_last_error.restype = ctypes.c_char_p
    for name in ("byoc_input_count", "byoc_output_count"):
        getattr(c, name).restype = ctypes.c_size_t
        getattr(c, name).argtypes = [ctypes.c_void_p]
    for name in ("byoc_input", "byoc_output"):
        getattr(c, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(_Port)]
    many = ctypes.POINTER(_Buffer)
    c.byoc_run.argtypes = [ctypes.c_void_p, many, ctypes.c_size_t, many, ctypes.c_size_t]
    c.byoc_close.argtypes = [ctypes.c_void_p]

    def check(status: int) -> None:
        if status:
            raise ValueError(c.byoc_last_error().decode())

    def ports(session: Any, which: str) -> list[_Port]:
        found = []
        for k in range(getattr(c, f"byoc_{which}_count")(session)):
            port = _Port()
            check(getattr(c, f"byoc_{which}")(session, k, ctypes.byref(port)))
            found.append(port)
        return found

    def run(path: str, runs: Sequence[Packed]) -> list[Packed]:
        session = ctypes.c_void_p()
        check(c.byoc_open(path.encode(), None, ctypes.byref(session)))
        results = []
        try:
            ins, outs = ports(session, "input"), ports(session, "output")
            for inputs in runs:
                # numpy's memory is aligned to 16 bytes, as the elements of a caller's are at least.
                given = [np.frombuffer(inputs[p.name.decode()][2], "u1").copy() for p in ins]
                made = [np.full(p.bytes, 0xA5, "u1") for p in outs]
                a = (_Buffer * max(1, len(ins)))(*[_Buffer(x.ctypes.data, x.nbytes) for x in given])
                b = (_Buffer * max(1, len(outs)))(*[_Buffer(x.ctypes.data, x.nbytes) for x in made])
                check(c.byoc_run(session, a, len(ins), b, len(outs)))
                results.append(
                    {
                        p.name.decode(): (
                            p.dtype.decode(),
                            tuple(p.shape[axis] for axis in range(p.rank)),
                            y.tobytes(),
                        )
                        for p, y in zip(outs, made, strict=True)
                    }
                )
        finally:
            c.byoc_close(session)
        if "tvm_ffi" in sys.modules:
            raise RuntimeError("the C process imported tvm_ffi")
        return results

    return run


def _main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what vendors print is no answer
    run = _in_python if sys.argv[1] == "python" else _in_c(sys.argv[2:])
    while True:
        try:
            path, runs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[Any, ...] = ("ok", run(path, runs))
        except Exception as error:
            answer = ("error", type(error).__name__, str(error))
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _main()
