"""Vendors whose blob is a shared object: code of TVM's compiler, and C++ that knows tvm-ffi."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_session import run_in_c
from native_vendor import INCLUDE

import byoc
from byoc.errors import VendorError
from byoc.runtime import Isolation, Session, VendorUse, load_program, save_program
from byoc.runtime.plan import PlanTensor, Port, Task
from byoc.segment import Artifact
from byoc.vendor import LibraryRuntime

ROWS = 300
WEIGHT = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")


def kernel():
    """relu(x @ w) + 1, its rows in parallel, with a workspace between the stages."""
    from tvm import te

    x = te.placeholder((ROWS, 64), name="x")
    w = te.placeholder((64, 64), name="w")
    k = te.reduce_axis((0, 64))
    product = te.compute((ROWS, 64), lambda i, j: te.sum(x[i, k] * w[k, j], axis=k))
    y = te.compute((ROWS, 64), lambda i, j: te.max(product[i, j], te.const(0, "float32")) + 1.0)
    return te.create_prim_func([x, w, y])


@pytest.fixture(scope="module")
def tvm_blob(tmp_path_factory) -> bytes:
    """What a vendor with a compiler of its own would put into its artifact."""
    import tvm
    from tvm import s_tir

    schedule = s_tir.Schedule(kernel().with_attr("global_symbol", "main"))
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        schedule.parallel(schedule.get_loops(block)[0])
    path = tmp_path_factory.mktemp("blob") / "kernel.so"
    function = schedule.mod["main"].with_attr("global_symbol", "execute")
    tvm.compile(tvm.IRModule({"execute": function}), target="llvm").export_library(str(path))
    return path.read_bytes()


def program(make, blob: bytes, *, constants=(WEIGHT,), symbol="execute", **changes):
    base = make("", (ROWS, 64))
    return dataclasses.replace(
        base,
        artifacts=(Artifact("numpy_0", "tiles", blob, constants),),
        vendors={"tiles": VendorUse("1", {}, LibraryRuntime(symbol))},
        **changes,
    )


def unaligned(array):
    """A copy that is aligned to its element only."""
    memory = np.zeros(array.nbytes + 128, "uint8")
    start = -memory.ctypes.data % 64 + array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


X = np.random.default_rng(1).standard_normal((ROWS, 64)).astype("float32")
WANTED = np.maximum(X @ WEIGHT, 0) + 1


def refuse(name):
    raise AssertionError("the vendor need not be installed")


@pytest.mark.parametrize("isolated", [False, True], ids=["in process", "isolated"])
@pytest.mark.parametrize("saved", [False, True], ids=["compiled", "loaded"])
def test_code_of_tvms_compiler_runs(make, tvm_blob, tmp_path, isolated, saved):
    model = program(
        make, tvm_blob, constants=(unaligned(WEIGHT),), isolation=Isolation() if isolated else None
    )
    if saved:
        save_program(model, tmp_path / "m.byoc")
        model = load_program(tmp_path / "m.byoc", refuse)
    session = Session(model)
    for x in (X, unaligned(X)):
        out = unaligned(np.zeros((ROWS, 64), "float32"))
        session.run({"x0": x}, {"y": out})
        np.testing.assert_allclose(out, WANTED, rtol=1e-4, atol=1e-4)
    session.close()


def test_it_runs_in_c(make, tvm_blob, tmp_path):
    save_program(program(make, tvm_blob), tmp_path / "m.byoc")
    found = run_in_c(tmp_path / "m.byoc", [X], (ROWS, 64))
    assert "error" not in found
    np.testing.assert_allclose(found["y"], WANTED.ravel(), rtol=1e-4, atol=1e-4)


def test_every_session_has_a_library_of_its_own(make, tvm_blob):
    """Two blobs at once, then a third where the first lay: the loader must not mix them up."""
    for _ in range(3):
        sessions = [Session(program(make, tvm_blob, constants=(WEIGHT * k,))) for k in (1, 2)]
        for k, session in zip((1, 2), sessions, strict=True):
            wanted = np.maximum(X @ (WEIGHT * k), 0) + 1
            np.testing.assert_allclose(session(X), wanted, rtol=1e-4, atol=1e-4)


SOURCE = """
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
extern "C" int missing_symbol(int);
void Copy(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  TVM_FFI_CHECK(x.ndim() == 2, ValueError) << "rank";
  const auto* from = static_cast<const float*>(x.data_ptr());
  auto* to = static_cast<float*>(y.data_ptr());
  for (int64_t i = 0; i < x.numel(); ++i) to[i] = from[i];
  if (from[0] < 0) TVM_FFI_THROW(ValueError) << "below zero";
#ifdef MISSING
  missing_symbol(1);
#endif
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(copy, Copy)
extern "C" __attribute__((visibility("default")))
int __tvm_ffi_silent(void*, const void*, int, void*) { return -1; }
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    import tvm_ffi.libinfo

    folder = tmp_path_factory.mktemp("cpp")

    def build_copy(*flags: str) -> bytes:
        code, library = folder / "copy.cc", folder / "copy.so"
        code.write_text(SOURCE)
        includes = [
            INCLUDE, tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path()
        ]  # fmt: skip
        subprocess.run(
            ["g++", "-std=c++17", "-fPIC", "-shared", "-O0", *flags, *(f"-I{i}" for i in includes),
             code, "-o", library, tvm_ffi.libinfo.find_libtvm_ffi()],
            check=True,
        )  # fmt: skip
        return library.read_bytes()

    return build_copy


@pytest.fixture(scope="module")
def cpp_blob(build) -> bytes:
    return build()


def test_cpp_runs_and_its_errors_are_named(make, cpp_blob):
    session = Session(program(make, cpp_blob, constants=(), symbol="copy"))
    assert (session(X) == X).all()
    with pytest.raises(
        byoc.ExecutionError, match="of vendor 'tiles' failed: ValueError: below zero"
    ):
        session(np.full_like(X, -1))
    silent = Session(program(make, cpp_blob, constants=(), symbol="silent"))
    with pytest.raises(byoc.ExecutionError, match="returned status -1, no error"):
        silent(X)


def test_what_does_not_load_is_named(make, cpp_blob, build):
    who = "vendor 'tiles', segment 'numpy_0' could not be loaded: .*"
    with pytest.raises(VendorError, match=who + "exports no function '__tvm_ffi_main'"):
        Session(program(make, cpp_blob, symbol="main"))
    with pytest.raises(VendorError, match=who + "does not load as a shared object"):
        Session(program(make, b"\x7fELF" + bytes(100)))
    with pytest.raises(VendorError, match=who + "undefined symbol: missing_symbol"):
        Session(program(make, build("-DMISSING"), symbol="copy"))


def test_a_file_says_that_its_code_is_inside(make, cpp_blob, tmp_path):
    from byoc.runtime.io.checking import check_file, inspect_file

    save_program(program(make, cpp_blob), tmp_path / "m.byoc")
    assert inspect_file(tmp_path / "m.byoc").format == 6
    (found,) = [f for f in check_file(tmp_path / "m.byoc", refuse) if f.subject == "vendor tiles"]
    assert (found.level, found.text) == ("ok", "its code is in the file")


def test_tensors_of_other_ranks(make, cpp_blob):
    """A plan between two segments: what is in the arena is aligned, ports need not be."""
    base = program(make, cpp_blob, constants=(), symbol="copy")
    shape = (ROWS, 64)
    plan = dataclasses.replace(
        base.body,
        inputs=(Port("x0", 0),),
        outputs=(Port("y", 1),),
        tensors=(
            PlanTensor(shape, "float32", "input"),
            PlanTensor(shape, "float32", "output"),
            PlanTensor(shape, "float32", "arena", 0, 0),
        ),
        tasks=(
            Task("segment", "numpy_0", (0, 2), 1),
            Task("segment", "again", (2, 1), 1, (0,)),
        ),
        arena_bytes=4 * ROWS * 64,
    )
    (artifact,) = base.artifacts
    more = dataclasses.replace(artifact, segment="again")
    session = Session(dataclasses.replace(base, body=plan, artifacts=(artifact, more)))
    assert (session(X) == X).all()


def test_the_runtime_keeps_no_file_behind(make, cpp_blob):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        Session(program(make, cpp_blob, constants=(), symbol="copy"))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
