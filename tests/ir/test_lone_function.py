"""A segment's function, taken out of its model."""

from __future__ import annotations

from tvm import relax

from byoc.ir.lone_function import as_main


def test_a_function_without_its_vendor():
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("acme_0", [x], attrs={"Codegen": "acme", "Primitive": 1}):
        builder.emit_func_output(builder.emit(relax.op.exp(x)))
    function = builder.get()["acme_0"]
    module = as_main(function)
    assert dict(module["main"].attrs) == {"global_symbol": "main"}
    assert function.attrs["Codegen"] == "acme"
    relax.analysis.well_formed(module)
