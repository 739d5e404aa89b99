"""For users of plain TVM: our vendors through the stock passes and ``tvm.compile``.

Exported as one library, reloaded in a fresh process that never mentions byoc.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tvm
from tvm import relax

import byoc.integrations.stock
from byoc.bench import difference
from byoc.frontends import import_model
from byoc.testing.zoo import build, random_inputs

FRESH = """
import sys
import numpy as np
import tvm
from tvm import relax
arrays = np.load(sys.argv[2])
vm = relax.VirtualMachine(tvm.runtime.load_module(sys.argv[1]), tvm.cpu())
inputs = [tvm.runtime.tensor(arrays[name]) for name in arrays.files]
out = vm["main"](*inputs)
np.savez(sys.argv[3], y=(out if isinstance(out, tvm.runtime.Tensor) else out[0]).numpy())
"""


def offload(mod: tvm.IRModule, vendor: str) -> tvm.IRModule:
    """Stock passes only."""
    patterns = byoc.integrations.stock.fusion_patterns(vendor)
    mod = relax.transform.FuseOpsByPattern(patterns, bind_constants=True)(mod)
    mod = relax.transform.MergeCompositeFunctions()(mod)
    mod = relax.transform.RunCodegen()(mod)
    return mod.without_attr("const_name_to_constant")


def symbols(mod: tvm.IRModule) -> list[str]:
    """Segments that main calls."""
    return [line for line in mod["main"].script().splitlines() if "call_dps_packed" in line]


@pytest.mark.parametrize("vendor", ["dnnl", "onnxruntime"])
@pytest.mark.parametrize("name", ["squeezenet", "mlp"])
def test_stock_passes_export_and_reload(name, vendor, tmp_path, reference):
    model = build(name)
    inputs = random_inputs(model, 0)
    (expected,) = reference(model, inputs).values()

    mod = offload(import_model(model).mod, vendor)
    assert symbols(mod), "the vendor took something"
    compiled = tvm.compile(mod, tvm.target.Target.from_device("cpu"))

    vm = relax.VirtualMachine(compiled, tvm.cpu())
    result = vm["main"](*(tvm.runtime.tensor(array) for array in inputs.values()))
    result = result if isinstance(result, tvm.runtime.Tensor) else result[0]
    assert difference(result.numpy(), expected).relative <= 1e-4

    library = tmp_path / "model.so"
    compiled.export_library(str(library))
    np.savez(tmp_path / "x.npz", **inputs)
    subprocess.run(
        [sys.executable, "-c", FRESH, library, tmp_path / "x.npz", tmp_path / "y.npz"],
        check=True,
        cwd=tmp_path,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], result.numpy())


def test_a_symbolic_batch_works_too(reference):
    model = build("mlp", batch="n")
    mod = offload(import_model(model).mod, "dnnl")
    assert symbols(mod)
    compiled = tvm.compile(mod, tvm.target.Target.from_device("cpu"))
    vm = relax.VirtualMachine(compiled, tvm.cpu())
    for batch in (1, 5):
        inputs = random_inputs(model, 0, {"n": batch})
        (expected,) = reference(model, inputs).values()
        result = vm["main"](*(tvm.runtime.tensor(array) for array in inputs.values()))
        result = result if isinstance(result, tvm.runtime.Tensor) else result[0]
        assert difference(result.numpy(), expected).relative <= 1e-4


def test_every_installed_vendor_is_registered_by_importing_tvm():
    code = (
        "import tvm, tvm_ffi\n"
        "print([n for n in tvm_ffi.registry.list_global_func_names() if 'relax.ext.' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for vendor in byoc.vendors():
        assert f"relax.ext.{vendor.name}" in done.stdout


def test_options_reach_the_vendor_and_wrong_ones_are_refused():
    mod = import_model(build("mlp")).mod
    patterns = byoc.integrations.stock.fusion_patterns("onnxruntime")
    mod = relax.transform.FuseOpsByPattern(patterns, bind_constants=True)(mod)
    mod = relax.transform.MergeCompositeFunctions()(mod)
    with pytest.raises(Exception, match="unknown option 'colour'"):
        relax.transform.RunCodegen({"onnxruntime": {"colour": "red"}})(mod)
