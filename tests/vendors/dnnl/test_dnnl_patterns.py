"""What the vendor offers and refuses: pattern names, what they take together, exact reasons."""

import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pydantic
import pytest
import tvm
from cases import const, emit, scalar
from relaxed import relax_module
from tvm import relax
from tvm.relax import op as R

from byoc.contract_checks import check_patterns, check_vendor
from byoc.integrations.stock import fusion_patterns
from byoc.partition import partition_module
from byoc.vendor_templates import dnnl
from byoc.vendor_templates.dnnl import VENDOR
from byoc.vendor_templates.dnnl.ops import RULES, limits_table
from byoc.vendor_templates.dnnl.patterns import ACTIVATIONS, ANCHORS

X4 = (2, 8, 7, 9)
F64 = ((5, 12), "float64")
DTYPES = "(supported: float32, bool, int8, uint8, int32, int64)"


def _conv(**attrs):
    return lambda x: R.nn.conv2d(x, const(6, 8, 3, 3), **attrs)


def _resize(size=(11, 5), **attrs):
    return lambda x: R.image.resize2d(x, size, layout="NCHW", **attrs)


REFUSED = {
    "dtype": (
        lambda x: R.nn.relu(x),
        [F64],
        f"nn.relu: dtype float64 is not supported {DTYPES}",
    ),
    "int_add": (
        lambda x, y: R.add(x, y),
        [((5,), "int64"), ((5,), "int64")],
        "add: needs float32, found int64",
    ),
    "rank": (
        lambda x: R.nn.relu(x),
        [(1, 2, 1, 2, 1, 2, 1)],
        "nn.relu: tensor float32[1, 2, 1, 2, 1, 2, 1] has 7 dimensions, at most 6 are supported",
    ),
    "empty": (lambda x: R.nn.relu(x), [(3, 0)], "nn.relu: tensor float32[3, 0] has no elements"),
    "conv_layout": (
        lambda x: R.nn.conv2d(
            x, const(6, 2, 3, 3, 4), data_layout="NCHW4c", kernel_layout="OIHW4i"
        ),
        [(2, 2, 7, 9, 4)],
        "nn.conv2d: data_layout 'NCHW4c' is not supported (any order of NCHW is)",
    ),
    "conv_negative_padding": (
        _conv(padding=(-1, 0, 0, 0)),
        [X4],
        "nn.conv2d: padding (-1, 0, 0, 0) is not all static and >= 0",
    ),
    "conv_out_dtype": (
        _conv(out_dtype="float64"),
        [X4],
        f"nn.conv2d: dtype float64 is not supported {DTYPES}",
    ),
    "conv_symbolic_weight": (
        lambda x, w: R.nn.conv2d(x, w),
        [X4, ("o", 8, 3, 3)],
        "nn.conv2d: weight shape ('o', 8, 3, 3) is symbolic",
    ),
    "pool_padding": (
        lambda x: R.nn.max_pool2d(x, (2, 2), padding=2),
        [X4],
        "nn.max_pool2d: padding (2, 2, 2, 2) does not lie between 0 and the window's 2 elements",
    ),
    "pool_symbolic_ceil": (
        lambda x: R.nn.max_pool2d(x, (2, 2), strides=(2, 2), ceil_mode=True),
        [("n", 8, 7, 9)],
        "nn.max_pool2d: ceil_mode needs a static shape, found float32[n, 8, 7, 9]",
    ),
    "adaptive": (
        lambda x: R.nn.adaptive_avg_pool2d(x, (2, 3)),
        [X4],
        "nn.adaptive_avg_pool2d: spatial size 7 is not a multiple of the output's 2",
    ),
    "layer_norm": (
        lambda x: R.nn.layer_norm(x, const(8), const(8), axes=[1]),
        [X4],
        "nn.layer_norm: axes (1,) are not the trailing ones",
    ),
    "group_norm": (
        lambda x: R.nn.group_norm(x, const(9), const(9), 3, 3, [1, 2]),
        [X4],
        "nn.group_norm: channel axis 3 with axes (1, 2) is not supported "
        "(channels on axis 1, all later axes normalised)",
    ),
    "batch_norm": (
        lambda x: emit(R.nn.batch_norm(x, const(8), const(8), const(8), const(8), 1))[0],
        [X4],
        "nn.batch_norm: training mode (statistics of the batch) is not supported",
    ),
    "resize_cubic": (
        _resize(method="cubic"),
        [X4],
        "image.resize2d: method 'cubic' is not supported (supported: 'nearest_neighbor', 'linear')",
    ),
    "resize_crop": (
        _resize(coordinate_transformation_mode="tf_crop_and_resize"),
        [X4],
        "image.resize2d: coordinate_transformation_mode 'tf_crop_and_resize' is not supported "
        "(supported: 'half_pixel', 'asymmetric', 'align_corners', 'pytorch_half_pixel')",
    ),
    "resize_one": (
        _resize(size=(1, 5), coordinate_transformation_mode="align_corners"),
        [X4],
        "image.resize2d: align_corners needs static output sizes above 1, found (1, 5)",
    ),
    "slice_backwards": (
        lambda x: R.strided_slice(x, [0], [4], [0], [-1]),
        [(5, 12)],
        "strided_slice: strides (-1,) are not all positive",
    ),
    "pad_circular": (
        lambda x: R.nn.pad(x, (0, 0, 0, 0, 1, 1, 1, 1), pad_mode="circular"),
        [X4],
        "nn.pad: pad_mode 'circular' is not supported "
        "(supported: 'constant', 'reflect', 'replicate', 'edge')",
    ),
    "pad_infinite": (
        lambda x: R.nn.pad(x, (0, 1, 0, 0), pad_value=float("-inf")),
        [(5, 12)],
        "nn.pad: pad_value -inf is not finite",
    ),
    "pad_reflect_far": (
        lambda x: R.nn.pad(x, (0, 0, 5, 0), pad_mode="reflect"),
        [(5, 4)],
        "nn.pad: cannot reflect 5 elements of dimension 4",
    ),
    "take_clip": (
        lambda x, i: R.take(x, i, axis=0, mode="clip"),
        [(5, 12), ((3,), "int64")],
        "take: mode 'clip' with indices that are not constant",
    ),
    "take_outside": (
        lambda x: R.take(x, cases.index(7), axis=0),
        [(5, 12)],
        "take: constant indices reach outside the tensor",
    ),
    "attention_causal": (
        lambda q, k: R.nn.attention(q, k, k, causal_mask="TopLeft"),
        [(2, 5, 3, 4), (2, 7, 3, 4)],
        "nn.attention: causal_mask 'TopLeft' needs as many queries as keys, found 5 and 7",
    ),
    "attention_window": (
        lambda q: R.nn.attention(q, q, q, causal_mask="TopLeft", window_size=2),
        [(2, 5, 3, 4)],
        "nn.attention: sliding windows are not supported",
    ),
    "tile": (
        lambda x: R.tile(x, (2, 2, 2, 2)),
        [X4],
        "tile: 8 dimensions in between, at most 6 are supported",
    ),
}


@pytest.fixture(scope="module")
def refusals():
    """Function name → reasons of its first op."""
    mod = relax_module({name: (build, inputs) for name, (build, inputs, _) in REFUSED.items()})
    report = partition_module(mod, [VENDOR]).report
    return {op.function: [r.reason for r in op.refusals] for op in report.ops}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name, refusals):
    assert REFUSED[name][2] in refusals[name]


def test_vendor_keeps_the_contract():
    check_vendor(VENDOR)
    names = [p.name for p in check_patterns(VENDOR)]
    assert len(names) == len(set(names))
    assert {"conv2d", "matmul", "attention", "image_resize2d", "lrn"} <= set(names)
    assert names[:6] == [
        "attention_spelled",
        "lrn",
        "hard_swish",
        "hard_sigmoid",
        "silu_spelled",
        "gelu_spelled",
    ]


def test_every_op_exists_in_relax():
    for op in [*RULES, *ANCHORS, *ACTIVATIONS]:
        assert tvm.ir.Op.get(f"relax.{op}").name == f"relax.{op}"


def test_importing_the_vendor_imports_no_tvm():
    code = "import sys, byoc.vendor_templates.dnnl as d; assert 'tvm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def _tail(x, *, bias, residual, activation):
    if bias:
        x = R.add(x, const(1, 6, 1, 1))
    if residual is not None:
        x = R.multiply(residual, x)
    return activation(x) if activation else x


@pytest.mark.parametrize("activation", [None, R.nn.relu, R.sigmoid, lambda x: R.clip(x, 0, 6)])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_conv_with_its_tail_is_one_composite(bias, residual, activation):
    def build(x, y):
        conv = R.nn.conv2d(x, const(6, 8, 1, 1))
        return _tail(conv, bias=bias, residual=y if residual else None, activation=activation)

    mod = relax_module({"main": (build, [X4, (2, 6, 7, 9)])})
    (segment,) = partition_module(mod, [VENDOR], min_segment_ops=1, min_segment_flops=0).segments
    (composite,) = segment.composites
    words = [("bias", bias), ("residual", residual), ("activation", activation)]
    assert composite.pattern == "_".join(["conv2d", *(w for w, there in words if there)])
    assert ("bias" in composite.parts) == bias
    if len(composite.nodes) > 1:
        assert {"data", "weight", "anchor"} <= set(composite.parts)


SPELLED = {
    "attention_spelled": (
        lambda q, k, v, m: R.matmul(
            R.nn.softmax(
                R.add(R.divide(R.matmul(q, R.permute_dims(k, [0, 1, 3, 2])), scalar(2)), m)
            ),
            v,
        ),
        [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6), (2, 1, 1, 7)],
    ),
    "lrn": (cases.IDIOMS["lrn"][0], [X4]),
    "hard_swish": (cases.IDIOMS["hardswish"][0], [X4]),
    "hard_sigmoid": (cases.IDIOMS["hardsigmoid"][0], [X4]),
    "silu_spelled": (cases.IDIOMS["silu"][0], [X4]),
    "gelu_spelled": (cases.IDIOMS["gelu_erf"][0], [X4]),
}


def test_spelled_functions_are_composites():
    result = partition_module(relax_module(SPELLED), [VENDOR])
    found = {op.function: op.pattern for op in result.report.ops}
    assert found == {name: name for name in SPELLED}


def test_leaking_intermediates_are_not_fused():
    def build(x):
        conv = emit(R.nn.conv2d(x, const(6, 8, 1, 1)))
        return R.nn.relu(R.add(conv, const(1, 6, 1, 1))), R.tanh(conv)

    (segment,) = partition_module(relax_module({"main": (build, [X4])}), [VENDOR]).segments
    assert sorted(c.pattern for c in segment.composites) == ["add", "conv2d", "relu", "tanh"]


def test_stock_passes_take_the_patterns():
    def build(x):
        conv = R.nn.relu(R.add(R.nn.conv2d(x, const(6, 8, 1, 1)), const(1, 6, 1, 1)))
        both = R.concat([emit(conv), emit(R.nn.max_pool2d(x))], axis=1)
        part = R.strided_slice(emit(both), [1], [0], [5])
        halves = emit(R.split(emit(R.nn.softmax(part, axis=1)), [2], axis=1))
        return R.sum(halves[1], axis=[2, 3])

    mod = relax_module({"main": (build, [X4])})
    mod = relax.transform.FuseOpsByPattern(fusion_patterns("dnnl"), bind_constants=True)(mod)
    mod = relax.transform.MergeCompositeFunctions()(mod)
    main = mod["main"]
    called = [
        b.value.op
        for block in main.body.blocks
        for b in block.bindings
        if isinstance(b.value, tvm.ir.Call)
    ]
    assert all(isinstance(op, tvm.ir.GlobalVar) for op in called), mod.script()
    composites = [
        str(b.value.attrs["Composite"])
        for gv in called
        for block in mod[gv].body.blocks
        for b in block.bindings
        if isinstance(b.value, relax.Function)
    ]
    assert "dnnl.conv2d_bias_activation" in composites
    assert "dnnl.concat" in composites


def test_weights_need_not_be_constant():
    mod = relax_module({"main": (lambda x, w: R.matmul(x, w), [(5, 12), (12, 7)])})
    report = partition_module(mod, [VENDOR], min_segment_ops=1, min_segment_flops=0).report
    assert [op.place for op in report.ops] == ["dnnl"]
    assert np.isclose(report.coverage.flops, 1.0)


def test_readme_lists_the_ops():
    readme = Path(dnnl.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert readme.endswith(limits_table()), "the table is ops.limits_table(): write it anew"


def test_status_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dnnl, "_ONEDNN_LIBRARY", "libdnnl.so.99")
    assert VENDOR.status() == (
        "libdnnl.so.99 is missing; pip install --force-reinstall onednn-cpu-gomp==2023.2.0"
    )
    monkeypatch.setattr(dnnl, "_ONEDNN_PACKAGE", "no-such-onednn")
    assert VENDOR.status() == "oneDNN is not installed; pip install no-such-onednn==2023.2.0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fuze": True}, "Extra inputs are not permitted"),
        ({"precision": "f16"}, "Input should be 'f32' or 'bf16'"),
        ({"fpmath": "fp8"}, "the former name of precision, which takes 'f32' or 'bf16'"),
        ({"instances": 0}, "greater than or equal to 1"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        dnnl.DnnlOptions(**options)
