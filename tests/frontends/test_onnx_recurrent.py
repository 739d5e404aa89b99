"""LSTM, GRU and RNN of ONNX: one op, with the numbers of ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurrent_nodes import FUNCTIONS, Layer, joined, layers

import byoc
from byoc.errors import ExecutionError, ModelError
from byoc.frontends import import_model

OPS = sorted(FUNCTIONS)


def layer(op, direction="forward", steps=4, rows=3, extra=(), fed=("x",), **attributes):
    """A layer of 5 numbers in and 6 out, with biases."""
    ways, gates = 2 if direction == "bidirectional" else 1, {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shapes = {
        "x": (steps, rows, 5), "w": (ways, gates * 6, 5), "r": (ways, gates * 6, 6),
        "b": (ways, gates * 12), "h": (ways, rows, 6), "c": (ways, rows, 6), "p": (ways, 18),
    }  # fmt: skip
    arrays = {
        name: (np.random.default_rng(seed).standard_normal(shape) / 3).astype("f4")
        for seed, (name, shape) in enumerate(shapes.items())
    }
    arrays["lengths"] = np.arange(1, rows + 1, dtype="i4") % (steps + 1)
    arrays = {k: v for k, v in arrays.items() if k in ("x", "w", "r", "b", *extra)}
    return Layer(op, arrays, {"hidden_size": 6, "direction": direction, **attributes}, set(fed))


def runs(tools, made, vendors=()):
    """Compile, and compare with ONNX Runtime."""
    model, feeds = joined(made)
    exe = byoc.compile(model, vendors=list(vendors))
    tools.close(list(exe.run(feeds).values()), tools.reference(model, feeds), 2e-5)
    return exe


@settings(
    max_examples=4, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(made=st.lists(layers(), min_size=5, max_size=8))
def test_random_layers_give_the_numbers_of_onnx_runtime(tools, made):
    runs(tools, made)


@pytest.mark.parametrize("op", OPS)
def test_a_layer_is_one_op(tools, op):
    model, _ = joined([layer(op, "bidirectional", steps=300)])
    found = tools.ops(import_model(model).mod)
    assert found["byoc.recurrent"] == 1
    assert "matmul" not in found


def test_lengths_and_batches_of_any_size_in_one_compilation(tools):
    made = [layer(op, "bidirectional", extra=("h",), fed=("x", "h")) for op in OPS]
    for each in made:
        each.symbolic = True
    exe = byoc.compile(joined(made)[0])
    for steps, rows in ((1, 1), (7, 2), (64, 3), (2, 0)):
        sized = [
            layer(op, "bidirectional", steps, rows, extra=("h",), fed=("x", "h")) for op in OPS
        ]
        model, feeds = joined(sized)
        found = list(exe.run(feeds).values())
        if rows:
            tools.close(found, tools.reference(model, feeds), 2e-5)
        else:
            assert [a.shape for a in found[:2]] == [(steps, 2, 0, 6), (2, 0, 6)]


def test_no_steps_leave_states_of_zero():
    """As rows of length 0 do; with no step at all ONNX Runtime gives what was in memory."""
    made = [layer(op, steps=0, extra=("h",), fed=("x", "h")) for op in OPS]
    model, feeds = joined(made)
    found = byoc.compile(model).run(feeds)
    for name, array in found.items():
        assert array.shape == ((0, 1, 3, 6) if name.endswith("Y") else (1, 3, 6))
        assert not array.any()


@pytest.mark.parametrize("op", OPS)
def test_layout_1_has_the_batch_first(op):
    """ONNX Runtime has no layout 1: it is compared with layout 0, turned."""
    first = layer(op, "bidirectional", extra=("h", "lengths"), fed=("x", "h", "lengths"))
    turned = layer(op, "bidirectional", extra=("h", "lengths"), fed=first.fed, layout=1)
    for name in ("x", "h"):
        turned.arrays[name] = np.ascontiguousarray(first.arrays[name].swapaxes(0, 1))
    expected, found = (
        list(byoc.compile(model).run(feeds).values())
        for model, feeds in (joined([first]), joined([turned]))
    )
    np.testing.assert_array_equal(found[0], expected[0].transpose(2, 0, 1, 3))
    for a, b in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(a, b.swapaxes(0, 1))


def test_half_precision_is_computed_in_float32(tools):
    made = layer("LSTM", fed=("x",))
    for name, array in made.arrays.items():
        made.arrays[name] = array.astype("f2")
    model, feeds = joined([made])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    found = byoc.compile(model).run(feeds)
    tools.close(list(found.values()), tools.reference(model, feeds), 1e-3)


def test_a_saved_layer_is_the_same(tmp_path):
    model, feeds = joined([layer("GRU", "bidirectional", extra=("h",), fed=("x", "h"))])
    exe = byoc.compile(model)
    exe.save(tmp_path / "gru.byoc")
    found = byoc.load(tmp_path / "gru.byoc").run(feeds)
    for name, array in exe.run(feeds).items():
        np.testing.assert_array_equal(found[name], array)


def test_lengths_that_do_not_fit_are_refused():
    made = layer("LSTM", extra=("lengths",), fed=("x", "lengths"))
    model, feeds = joined([made])
    exe = byoc.compile(model)
    for bad in (-1, 5):
        feeds["l0lengths"][1] = bad
        with pytest.raises(ExecutionError, match=f"length {bad}, expected 0 to its 4 steps"):
            exe.run(feeds)
    made.fed, made.arrays["lengths"] = {"x"}, np.array([4, 9, 1], np.int32)
    with pytest.raises(ModelError, match=r"LSTM.*\[4, 9, 1\] do not fit its 4 steps"):
        byoc.compile(joined([made])[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "sideways"}, "direction 'sideways' is none of forward, reverse"),
        ({"hidden_size": 7}, "hidden_size is 7, its weights R have 6 columns"),
        ({"activations": ["Sigmoid"]}, "it has 1 activations, expected 3"),
        ({"activations": ["Sine", "Tanh", "Tanh"]}, "activation 'sine' is none of affine, elu"),
    ],
)
def test_bad_attributes_are_named(changes, message):
    made = layer("LSTM")
    made.attributes |= changes
    with pytest.raises(ModelError, match=message):
        byoc.compile(joined([made])[0])


def test_a_bad_shape_is_named():
    made = layer("GRU")
    made.arrays["w"] = made.arrays["w"][:, :-1]
    with pytest.raises(
        ModelError, match=r"operand 'w' of a forward gru .*1, 17, 5.*expected \[1, 18, 5\]"
    ):
        byoc.compile(joined([made])[0])
