"""A file that calls a function which its process lacks: a named error, when it is loaded."""

import subprocess
import sys

import numpy as np
import tvm_ffi
from tvm import relax

import byoc


def calling(name):
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((relax.ShapeExpr([3]).values[0],), "float32"))
    with builder.function("main", [x]):
        result = relax.call_pure_packed(name, x, ty_args=relax.TensorType(ndim=1, dtype="float32"))
        builder.emit_func_output(builder.emit(result))
    return builder.get()


def test_it_is_named_and_said_what_to_do(tmp_path):
    tvm_ffi.register_global_func("mine.same", lambda x: x)
    exe = byoc.compile(calling("mine.same"))
    exe.save(tmp_path / "m.byoc")
    assert exe(np.ones(3, "float32")).tolist() == [1, 1, 1]
    script = "import byoc, sys\ntry:\n    byoc.load(sys.argv[1])\nexcept byoc.ByocError as e:\n"
    script += "    print(type(e).__name__, e)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "m.byoc"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ArtifactError")
    assert "mine.same" in done.stdout
    assert "register the function before the model is loaded" in done.stdout
    assert "Traceback" not in done.stderr
