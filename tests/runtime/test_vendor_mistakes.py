"""Mistakes that vendors' authors make in their runtimes: found, and named in words for them."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from native_vendor import as_distribution, build_vendor
from runtime_programs import elementwise

import byoc
from byoc.errors import ExecutionError, VendorError
from byoc.runtime import Isolation, Session, VendorUse
from byoc.segment import Artifact
from byoc.testing.zoo.mlp import build_mlp
from byoc.vendor import NativeRuntime, PythonRuntime

SOURCE = """
#include <byoc/vendor.h>
#include <stdexcept>
#include <string>
// y = x * 2 in float32; the blob says what is done wrong.
struct Slip : byoc::SegmentRuntime {
  explicit Slip(std::string what) : what(std::move(what)) {}
  size_t InputCount() const override { return what == "counts" ? 2 : 1; }
  size_t OutputCount() const override { return what == "swapped" ? 0 : 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    float* x = static_cast<float*>(in[0]->data);
    float* y = static_cast<float*>(out[0]->data);
    const int64_t n = in[0]->shape[0];
    if (what == "throws") throw "no exception at all";
    if (what == "nothing") return;
    for (int64_t i = 0; i < (what == "half" ? n / 2 : n); ++i) {
      if (what == "adds") y[i] += x[i]; else y[i] = x[i] * 2;
    }
    if (what == "in place") x[1] = 0;
    if (what == "beyond") y[n] = 0;
  }
  std::string what;
};
struct Strange {};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  if (init.blob == "int") throw 3;
  if (init.blob == "text") throw "the driver said no";
  if (init.blob == "strange") throw Strange();
  return std::make_unique<Slip>(std::string(init.blob));
}
BYOC_REGISTER_VENDOR(slip, Init)
"""

SIZE = 6
X = np.arange(1, SIZE + 1, dtype="float32")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of distributions, as pip leaves it, that Python looks into."""
    folder = tmp_path_factory.mktemp("site")
    as_distribution(build_vendor(folder, "slip", SOURCE), "byoc-slip")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def native(blob="", vendor="slip", runtime=None, apart=False):
    """One segment of the vendor in C++."""
    base = elementwise(blob, (SIZE,))
    (artifact,) = base.artifacts
    return dataclasses.replace(
        base,
        artifacts=(dataclasses.replace(artifact, vendor=vendor),),
        vendors={vendor: VendorUse("1", {}, runtime or NativeRuntime("slip", "byoc-slip"))},
        isolation=Isolation() if apart else None,
    )


def hosted(execute, inputs=1):
    """One segment of a vendor in Python that executes as given."""
    runtime = PythonRuntime(lambda blob, constants, options: execute)
    base = elementwise("", (SIZE,), inputs=inputs)
    return dataclasses.replace(base, vendors={"numpy": VendorUse("1", {}, runtime)})


LEFT = r"left {} of the 6 elements of outputs\[0\] \(float32\[6\]\) as they were"

AT_ONCE = {
    "nothing": LEFT.format(6) + ", the first at flat index 0",
    "half": LEFT.format(3) + ", the first at flat index 3",
    "adds": r".* outputs\[0\] .*add to none",  # the poison is huge in places: x does not show
}
CHECKED = {
    "in place": r"changed inputs\[0\] .*others read.*work on a copy",
    "beyond": r"wrote beyond the end of outputs\[0\]",
}


@pytest.fixture(params=[False, True], ids=["plain", "checked"])
def checked(request, monkeypatch):
    monkeypatch.setenv("BYOC_CHECK", str(int(request.param)))
    return request.param


@pytest.mark.parametrize("apart", [False, True], ids=["in process", "out of process"])
def test_a_native_execute_that_does_not_write_what_it_must(site, checked, apart):
    for blob, message in {**AT_ONCE, **(CHECKED if checked else {})}.items():
        session = Session(native(blob, apart=apart))
        where = r"segment 'numpy_0' .*of vendor 'slip' failed.*vendor author: execute "
        with pytest.raises(ExecutionError, match=where + message):
            session(X)
    np.testing.assert_array_equal(Session(native(apart=apart))(X), X * 2)


def _rebinds(inputs, outputs):
    outputs[0] = inputs[0] * 2


def _returns(inputs, outputs):
    return inputs[0] * 2


def _nothing(inputs, outputs):
    pass


def _half(inputs, outputs):
    outputs[0][:3] = 1


def _adds(inputs, outputs):
    outputs[0][...] += inputs[0]


def _in_place(inputs, outputs):
    inputs[0][...] = 0


def _local(inputs, outputs):
    (y,) = outputs
    y = inputs[0] * 2  # noqa: F841


@pytest.mark.parametrize(
    ("execute", "message"),
    [
        (_rebinds, r"assigned to outputs\[0\].*write in place: outputs\[0\]\[\.\.\.\] = result"),
        (_returns, r"returned a ndarray, which nobody reads: .*outputs\[0\]\[\.\.\.\] = result"),
        (_nothing, AT_ONCE["nothing"]),
        (_local, AT_ONCE["nothing"]),
        (_half, AT_ONCE["half"]),
        (_in_place, "read-only"),
        (_adds, AT_ONCE["adds"]),
    ],
)
def test_a_python_execute_that_loses_its_results(checked, execute, message):
    session = Session(hosted(execute))
    with pytest.raises(ExecutionError, match=r"segment 'numpy_0' .*of vendor 'numpy'.*" + message):
        session(X)


def test_what_a_python_vendor_keeps_of_a_call_is_noise_under_check(monkeypatch):
    """Arrays are the caller's: a vendor that returns to them later must not find numbers there."""
    kept = []

    def execute(inputs, outputs):
        kept.append(inputs[0])
        outputs[0][...] = kept[0]

    monkeypatch.setenv("BYOC_CHECK", "1")
    session = Session(hosted(execute))
    np.testing.assert_array_equal(session(X), X)
    assert not np.array_equal(session(X), X)


def test_a_vendor_whose_results_differ_from_call_to_call(checked):
    numbers = itertools.count()
    session = Session(hosted(lambda i, o: o[0].fill(next(numbers))))
    session(X)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        ("int", "vendor 'slip': the int 3 was thrown"),
        ("text", "vendor 'slip': the driver said no"),
        ("strange", "vendor 'slip': a value of type 7Strange was thrown"),
        ("counts", r"InputCount\(\) is 2 and OutputCount\(\) is 1, the segment has 1 inputs and 1"),
        ("swapped", r"InputCount\(\) is 1 and OutputCount\(\) is 0, .*len\(segment\.inputs\)"),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["in process", "out of process"])
def test_a_native_vendor_that_cannot_be_loaded(site, blob, message, apart):
    with pytest.raises(VendorError, match="segment 'numpy_0' could not be loaded: .*" + message):
        Session(native(blob, apart=apart))


def test_a_native_execute_that_throws_what_is_no_exception(site):
    with pytest.raises(ExecutionError, match=r"vendor 'slip': no exception at all"):
        Session(native("throws"))(X)


EMPTY = """
#include <byoc/vendor.h>
{declared}
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit&) {{ {body} }}
{registered}
"""


def _library(folder: Path, name: str, registered="", declared="", body="return nullptr;") -> None:
    registered = registered or f"BYOC_REGISTER_VENDOR({name}, Init)"
    source = EMPTY.format(declared=declared, body=body, registered=registered)
    as_distribution(build_vendor(folder, name, source), f"byoc-{name}")


def test_a_second_library_of_one_vendor(site):
    Session(native())
    _library(site, "twin", "BYOC_REGISTER_VENDOR(slip, Init)")
    message = r"vendor 'slip' is in two libraries: .*/libslip\.so, which .*, and .*/libtwin\.so"
    for vendor in ("twin", "slip"):
        with pytest.raises(VendorError, match=message):
            Session(native(vendor=vendor, runtime=NativeRuntime("twin", "byoc-twin")))
    np.testing.assert_array_equal(Session(native())(X), X * 2)


def test_a_symbol_that_is_missing(site):
    _library(site, "unlinked", declared="void Absent();", body="Absent(); return nullptr;")
    message = r"libunlinked\.so does not load: .*undefined symbol: .*Absent.*all of it linked"
    with pytest.raises(VendorError, match=message):
        Session(native(vendor="unlinked", runtime=NativeRuntime("unlinked", "byoc-unlinked")))


def test_a_library_that_registers_another_name(site):
    _library(site, "misnamed", "BYOC_REGISTER_VENDOR(mis_named, Init)")
    message = r"does not register byoc\.vendor\.misnamed\.init.*in this process: .*mis_named"
    with pytest.raises(VendorError, match=message):
        Session(native(vendor="misnamed", runtime=NativeRuntime("misnamed", "byoc-misnamed")))


def test_a_name_that_is_a_macro(site):
    _library(site, "macro", "#define NAME macro\nBYOC_REGISTER_VENDOR(NAME, Init)")
    with pytest.raises(VendorError, match="init returned no segment"):
        Session(native(vendor="macro", runtime=NativeRuntime("macro", "byoc-macro")))


KERNELS = """
#include <byoc/vendor.h>
#include <fstream>
#include <string>
#include <tvm/ffi/extra/module.h>
#include <unistd.h>
// The blob is a library that TVM compiled.
struct Compiled : byoc::SegmentRuntime {
  static tvm::ffi::Module Load(std::string_view blob) {
    const std::string path = "/tmp/byoc-test-" + std::to_string(getpid()) + ".so";
    std::ofstream(path, std::ios::binary).write(blob.data(), blob.size());
    tvm::ffi::Module module = tvm::ffi::Module::LoadFromFile(path);
    unlink(path.c_str());
    return module;
  }
  explicit Compiled(std::string_view blob)
      : module(Load(blob)), kernel(*module->GetFunction("add_one")) {}
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    kernel(const_cast<DLTensor*>(&*in[0]), const_cast<DLTensor*>(&*out[0]));
  }
  tvm::ffi::Module module;
  tvm::ffi::Function kernel;
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Compiled>(init.blob);
}
BYOC_REGISTER_VENDOR(compiled, Init)
"""


@pytest.mark.parametrize("apart", [True, False], ids=["out of process", "in process"])
def test_a_blob_with_kernels_of_tvms(tmp_path, monkeypatch, kernel_library, apart):
    """They call TVM's thread pool, which is there without a host library, too."""
    as_distribution(build_vendor(tmp_path, "compiled", KERNELS), "byoc-compiled")
    monkeypatch.syspath_prepend(str(tmp_path))
    base = elementwise("", (64, 16))
    artifact = Artifact("numpy_0", "compiled", kernel_library)
    use = VendorUse("1", {}, NativeRuntime("compiled", "byoc-compiled"))
    session = Session(
        dataclasses.replace(
            base,
            artifacts=(artifact,),
            vendors={"compiled": use},
            isolation=Isolation() if apart else None,
        )
    )
    x = np.arange(64 * 16, dtype="float32").reshape(64, 16)
    np.testing.assert_array_equal(session(x), x + 1)


@pytest.mark.filterwarnings("ignore")
def test_a_shipped_vendor_is_right_under_check(monkeypatch):
    """oneDNN keeps the contract, and the check changes no bit."""
    x = np.linspace(-1, 1, 2 * 32, dtype="float32").reshape(2, 32)
    answers = []
    for check in ("0", "1"):
        monkeypatch.setenv("BYOC_CHECK", check)
        exe = byoc.compile(build_mlp(batch=2, features=32, hidden=48), vendors=["dnnl"])
        assert exe.report.coverage.ops == 1
        answers.append(exe(x))
    np.testing.assert_array_equal(*answers)
