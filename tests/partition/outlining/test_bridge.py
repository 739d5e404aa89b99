"""What the stock passes make of a vendor's patterns becomes the same segment."""

import numpy as np
import pytest
from toy_vendors import toy
from tvm import relax
from tvm.relax.dpl import is_const, is_op, wildcard
from tvm.relax.transform import FuseOpsByPattern, FusionPattern, MergeCompositeFunctions

from byoc.errors import VendorError
from byoc.partition import partition_module, segment_from_function
from byoc.vendor import Pattern

pytestmark = pytest.mark.filterwarnings("ignore")


def conv_relu():
    x, w = wildcard(), is_const()
    conv = is_op("relax.nn.conv2d")(x, w)
    out = is_op("relax.nn.relu")(conv)
    return Pattern("conv_relu", out, parts={"x": x, "w": w, "out": out})


VENDOR = toy("toy", conv_relu(), "add")


def module():
    bb = relax.BlockBuilder()
    rng = np.random.default_rng(0)
    x = relax.Var("x", relax.TensorType((1, 4, 8, 8), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            y = x
            for k in range(2):
                w = relax.const(rng.standard_normal((4, 4, 1, 1)).astype("float32"))
                y = bb.emit(relax.op.nn.conv2d(y, w), name_hint=f"conv{k}")
                y = bb.emit(relax.op.nn.relu(y), name_hint=f"relu{k}")
                y = bb.emit(relax.op.add(y, x), name_hint=f"add{k}")
            out = bb.emit_output(y)
        bb.emit_func_output(out)
    return bb.get()


def functions(mod):
    return [f for _, f in mod.functions_items() if f.attrs and "Codegen" in f.attrs]


def stock(**options):
    patterns = [FusionPattern(f"toy.{p.name}", p.expr, dict(p.parts)) for p in VENDOR.patterns()]
    return FuseOpsByPattern(patterns, **options)(module())


@pytest.mark.parametrize("bind", [True, False])
def test_merged_composites(bind):
    (func,) = functions(MergeCompositeFunctions()(stock(bind_constants=bind)))
    segment = segment_from_function(func, VENDOR, "seg")
    ops = ["nn.conv2d", "nn.relu", "add"] * 2
    assert [n.op for n in segment.nodes] == ops
    assert [c.pattern for c in segment.composites] == ["conv_relu", "add", "conv_relu", "add"]
    assert segment.composites[0].nodes == (0, 1)
    assert set(segment.composites[0].parts) == {"x", "w", "out"}
    assert (segment.name, segment.vendor) == ("seg", "toy")
    assert len(segment.inputs) == len(func.params) == (1 if bind else 3)
    assert len(segment.constants) == (2 if bind else 0)


def test_annotated_composites():
    for func in functions(stock(bind_constants=True, annotate_codegen=True)):
        segment = segment_from_function(func, VENDOR, "seg")
        assert len(segment.composites) == 1
        assert len(segment.inputs) == len(func.params)


def test_our_own_functions_give_the_segment_they_came_from():
    result = partition_module(module(), [VENDOR])
    (segment,) = result.segments
    again = segment_from_function(result.mod[segment.name], VENDOR, segment.name)
    assert [n.op for n in again.nodes] == [n.op for n in segment.nodes]
    assert [n.source for n in again.nodes] == [n.source for n in segment.nodes]
    assert again.composites == segment.composites
    assert (again.inputs, again.outputs) == (segment.inputs, segment.outputs)
    assert again.values == segment.values
    for value, array in segment.constants.items():
        assert np.shares_memory(again.constants[value], array)


def test_an_op_the_vendor_does_not_take():
    other = toy("toy", "add")
    (func,) = functions(partition_module(module(), [VENDOR]).mod)
    with pytest.raises(VendorError, match=r"'toy' does not take nn\.conv2d \(conv0\): no pattern"):
        segment_from_function(func, other, "seg")
    (func,) = functions(MergeCompositeFunctions()(stock(bind_constants=True)))
    with pytest.raises(VendorError, match=r"composite 'toy\.conv_relu' of 'seg' fits no pattern"):
        segment_from_function(func, other, "seg")


def test_a_function_that_calls_another_is_refused():
    result = partition_module(module(), [VENDOR])
    with pytest.raises(VendorError, match="holds 'call toy_0'"):
        segment_from_function(result.mod["main"], VENDOR, "seg")


def test_stock_run_codegen_takes_our_module():
    import tvm_ffi

    asked = []

    def codegen(functions, options, names):
        asked.extend(str(f.attrs["global_symbol"]) for f in functions)
        return []

    tvm_ffi.register_global_func("relax.ext.toy", codegen, override=True)
    try:
        result = partition_module(module(), [VENDOR])
        lowered = relax.transform.RunCodegen({}, ["main"])(result.mod)
    finally:
        tvm_ffi.registry.remove_global_func("relax.ext.toy")
    assert asked == [s.name for s in result.segments]
    text = lowered.script()
    assert 'call_dps_packed("toy_0"' in text
    assert "Codegen" not in text
