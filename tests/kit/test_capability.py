"""Capabilities as data: what is inside is taken, what is outside is refused with a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.errors import VendorError
from byoc.ir.arrays import from_numpy
from byoc.kit.capability import (
    Capability,
    Operand,
    PatternsOf,
    Range,
    capabilities_of,
    fused_patterns,
    load_capabilities,
    op_table,
)
from byoc.testing.fake_vendors import init_reference, synthetic
from byoc.vendor import PythonRuntime

DENSE = Capability(
    op="matmul",
    inputs=(Operand(rank=(2, 3)), Operand(rank=2, constant=True, dims={-1: Range(max=8)})),
    tail="bias? nn.relu|clip?",
)
CONV = Capability(
    op="nn.conv2d",
    inputs=(Operand(), Operand(constant=True, max_elements=72)),
    attrs={"strides": [1, 2], "padding": Range(min=0, max=2), "clip.min": 0.0},
    tail="bias? residual? nn.relu|clip?",
)


def _vendor(*capabilities, **more):
    import dataclasses

    base = synthetic("acme", {"nn.relu": 1e-6})
    return dataclasses.replace(
        base, patterns=PatternsOf(capabilities, **more), runtime=PythonRuntime(init_reference),
        estimate=lambda match: None,
    )  # fmt: skip


def _const(*shape, dtype="float32"):
    return relax.const(from_numpy(np.ones(shape, dtype)))


def _module(build, *shapes, dtype="float32"):
    variables = [relax.Var(f"x{n}", relax.TensorType(s, dtype)) for n, s in enumerate(shapes)]
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        with builder.dataflow():
            result = builder.emit_output(build(*variables))
        builder.emit_func_output(result)
    return builder.get()


def _asked(capability, build, *shapes, dtype="float32"):
    """The patterns taken, or the refusals."""
    module = _module(build, *shapes, dtype=dtype)
    parts = byoc.partition_model(module, [_vendor(capability)], min_segment_ops=1)
    taken = [c.pattern for s in parts.segments for c in s.composites]
    return taken or [r.reason for op in parts.report.ops for r in op.refusals]


def _relu(x):
    return relax.op.nn.relu(x)


@pytest.mark.parametrize(
    ("build", "shape", "pattern"),
    [
        (lambda x: relax.op.matmul(x, _const(3, 8)), (2, 3), "matmul"),
        (lambda x: _relu(relax.op.matmul(x, _const(3, 8))), (4, 2, 3), "matmul_relu"),
        (lambda x: relax.op.clip(relax.op.matmul(x, _const(3, 8)), 0, 6), (2, 3), "matmul_clip"),
        (
            lambda x: _relu(relax.op.add(relax.op.matmul(x, _const(3, 8)), _const(8))),
            (2, 3),
            "matmul_bias_relu",
        ),
    ],
)
def test_all_steps_of_a_tail_may_be_there_or_not(build, shape, pattern):
    assert _asked(DENSE, build, shape) == [pattern]


@pytest.mark.parametrize(
    ("build", "shape", "reason"),
    [
        (lambda x: relax.op.matmul(x, _const(3, 9)), (2, 3), "size 9 along axis -1"),
        (lambda x: relax.op.matmul(x, _const(3, 8)), (1, 1, 2, 3), "has 4 dimensions"),
        (lambda x: relax.op.matmul(_const(2, 3), x), (3, 8), "input 1 is not a constant"),
        (lambda x: relax.op.matmul(x, _const(3, 8)), ("n", 3), "symbolic"),
    ],
)
def test_just_outside_is_refused_with_the_limit(build, shape, reason):
    if "n" in shape:
        from tvm import tirx

        shape = tuple(tirx.Var(d, "int64") if isinstance(d, str) else d for d in shape)
    (found, *_) = _asked(DENSE, build, shape)
    assert reason in found


def test_a_dtype_that_is_not_named_is_refused():
    def build(x):
        return relax.op.matmul(x, _const(3, 8, dtype="float64"))

    (found, *_) = _asked(DENSE, build, (2, 3), dtype="float64")
    assert found == "matmul: input 0 is float64, taken is float32"


def _conv(x, w=(8, 3, 1, 3), **attrs):
    return relax.op.nn.conv2d(x, _const(*w), **attrs)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda x: _conv(x, strides=2, padding=2), None),
        (lambda x: _conv(x, strides=3), "strides is (3, 3), taken is 1 or 2"),
        (lambda x: _conv(x, padding=3), "padding is (3, 3, 3, 3), taken is 0 to 2"),
        (lambda x: _conv(x, dilation=2), "dilation is (2, 2), taken is 1"),
        (lambda x: _conv(x, (9, 1, 1, 3), groups=3), "groups is 3, taken is 1"),
        (lambda x: _conv(x, (9, 3, 1, 3)), "81 elements, taken are at most 72"),
    ],
)
def test_attributes_that_are_not_named_have_their_defaults(build, reason):
    found = _asked(CONV, build, (1, 3, 9, 9))
    assert found == ["conv2d"] if reason is None else reason in found[0]


def test_what_is_added_is_a_bias_or_a_residual():
    shapes = ((1, 3, 9, 9), (1, 8, 9, 7))
    assert _asked(CONV, lambda x, y: relax.op.add(_conv(x), y), *shapes) == ["conv2d_residual"]
    both = _asked(
        CONV,
        lambda x, y: _relu(relax.op.add(relax.op.add(_conv(x), _const(1, 8, 1, 1)), y)),
        *shapes,
    )
    assert both == ["conv2d_bias_residual_relu"]
    # one number for each column is no bias: the convolution is taken without it
    assert _asked(CONV, lambda x: relax.op.add(_conv(x), _const(7)), shapes[0]) == ["conv2d"]
    low = _asked(CONV, lambda x: relax.op.clip(_conv(x), -1, 6), shapes[0])
    assert low == ["conv2d"]


def test_a_bias_that_makes_the_result_larger_is_not_taken_with_it():
    def build(x):
        return relax.op.add(relax.op.matmul(x, _const(3, 8)), _const(4, 8))

    assert _asked(DENSE, build, (1, 3)) == ["matmul"]


def test_yaml_says_the_same():
    text = """
    - op: matmul
      inputs:
        - {rank: [2, 3]}
        - {rank: 2, constant: true, dims: {-1: {max: 8}}}
      tail: bias? nn.relu|clip?
    """
    assert load_capabilities(text) == [DENSE]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{op: matmul}", "must be a list"),
        ("[{op: relax.matmul}]", "entry 0 (relax.matmul): op"),
        ("[{op: matmul, ranks: 2}]", "ranks: Extra inputs are not permitted"),
        ("[{op: matmul, inputs: [{constant: maybe}]}]", "inputs.0.constant"),
        ("[3]", "entry 0 (?)"),
        ("[{op: [", "is no YAML"),
    ],
)
def test_bad_yaml_is_told_by_entry_and_field(text, words):
    with pytest.raises(VendorError, match="vendor author") as caught:
        load_capabilities(text)
    assert words in str(caught.value)


def test_an_op_that_tvm_lacks_is_named():
    with pytest.raises(VendorError, match=r"no_such_op"):
        PatternsOf([Capability(op="nn.no_such_op")])()


def test_the_table_and_patterns_by_hand_beside():
    table = op_table([DENSE, CONV])
    assert (
        "| `matmul` | float32 | 0: rank 2 or 3; 1: a constant, rank 2, axis -1: at most 8 |"
        in table
    )
    assert "bias?, residual?, nn.relu or clip?" in table
    by_hand = fused_patterns("nn.conv2d", "bias?", lambda match: None)
    vendor = _vendor(DENSE, beside=lambda: by_hand)
    names = [p.name for p in vendor.patterns()]
    assert names[-2:] == ["conv2d_bias", "conv2d"]
    assert capabilities_of(vendor) == (DENSE,)


def test_two_capabilities_of_one_op_have_names_of_their_own():
    names = [p.name for p in PatternsOf([DENSE, DENSE])()]
    assert len(set(names)) == len(names) == 12


def test_a_split_can_be_asked_for_without_the_sdk():
    import dataclasses

    lost = dataclasses.replace(_vendor(DENSE), status=lambda: "the SDK is not installed")
    module = _module(lambda x: relax.op.matmul(x, _const(3, 8)), (2, 3))
    parts = byoc.partition_model(module, [lost], min_segment_ops=1)
    assert [s.vendor for s in parts.segments] == ["acme"]
    assert "vendor 'acme' cannot run here: the SDK is not installed" in parts.report.warnings[0]
    with pytest.raises(VendorError, match="not usable"):
        byoc.compile(module, [lost])
