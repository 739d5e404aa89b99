"""One call of a model through byoc/session.h, in a process that has no byoc in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tvm_ffi.libinfo import find_libtvm_ffi

from byoc.runtime.native import find_library

_SCRIPT = """
import ctypes, json, os, sys
import numpy as np
libraries, model, shapes, folders = json.loads(sys.argv[1])
# As a plugin is loaded: what it needs is there, and for its own use only.
c = [ctypes.CDLL(library, mode=os.RTLD_LOCAL) for library in libraries][-1]
class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]
class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("library_path", ctypes.c_char_p),
                ("key", ctypes.c_char_p), ("no_healing", ctypes.c_int),
                ("no_isolation", ctypes.c_int), ("on_fault", ctypes.c_void_p),
                ("user", ctypes.c_void_p)]
c.byoc_last_error.restype = ctypes.c_char_p
c.byoc_run.argtypes = [ctypes.c_void_p, ctypes.POINTER(Buffer), ctypes.c_size_t,
                       ctypes.POINTER(Buffer), ctypes.c_size_t]
c.byoc_close.argtypes = [ctypes.c_void_p]
def check(status):
    if status:
        print(json.dumps({"error": c.byoc_last_error().decode()}))
        sys.stdout.flush()
        os._exit(0)
options = Options(ctypes.sizeof(Options), folders.encode(), None, 0, 1, None, None)
session = ctypes.c_void_p()
check(c.byoc_open(model.encode(), ctypes.byref(options), ctypes.byref(session)))
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(l.split()[1]) for l in lines if l.startswith(("RssAnon", "RssShmem"))) << 10
loaded = resident()
xs = [np.load(sys.argv[2])[f"x{i}"] for i in range(len(shapes) - 1)]
y = np.zeros(shapes[-1], "float32")
given = (Buffer * len(xs))(*(Buffer(x.ctypes.data, x.nbytes) for x in xs))
written = (Buffer * 1)(Buffer(y.ctypes.data, y.nbytes))
check(c.byoc_run(session, given, len(xs), written, 1))
c.byoc_close(session)
assert "byoc" not in sys.modules
print(json.dumps({"y": y.ravel().tolist(), "resident": loaded}))
"""


def run_in_c(
    model: Path, inputs: list[Any], shape: tuple[int, ...], library_path: Path | str = ""
) -> dict[str, Any]:
    """``{"y": numbers, "resident": bytes once loaded, "stderr": text}``, or the "error"."""
    arrays = model.with_suffix(".npz")
    np.savez(arrays, **{f"x{i}": x for i, x in enumerate(inputs)})
    shapes = [*(x.shape for x in inputs), shape]
    libraries = [find_libtvm_ffi(), str(find_library("byoc_runtime"))]
    told = json.dumps([libraries, str(model), shapes, str(library_path)])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, told, str(arrays)],
        capture_output=True, text=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return {"stderr": done.stderr, **json.loads(done.stdout.splitlines()[-1])}
