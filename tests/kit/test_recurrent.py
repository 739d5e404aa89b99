"""A recurrent layer as attributes, as a Relax call, on the host and as ONNX, by its equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

import byoc
from byoc.kit.onnx_export import segment_to_onnx
from byoc.kit.recurrent import GATES, OPERANDS, GateFunction, Recurrent, recurrent_call
from byoc.segment import Node, Segment, TensorType
from byoc.testing.conformance.recurrent import layer_results

FUNCTIONS = {"lstm": 3, "gru": 2, "rnn": 1}
PARAMETERS = {
    "affine": (0.7, 0.1), "elu": (0.8, 0.0), "hardsigmoid": (0.3, 0.4), "leakyrelu": (0.1, 0.0),
    "relu": (0.0, 0.0), "scaledtanh": (0.9, 0.8), "sigmoid": (0.0, 0.0), "softplus": (0.0, 0.0),
    "softsign": (0.0, 0.0), "tanh": (0.0, 0.0), "thresholdedrelu": (0.2, 0.0),
}  # fmt: skip


@st.composite
def layers(draw, dtypes=("float32", "float64"), projects=True):
    """A layer and its arrays."""
    kind = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    optional = ["b", "lengths", "h"]
    if kind == "lstm":
        optional += ["c", "p", *(["proj"] if projects else [])]
    kept = {"x", "w", "r", *draw(st.lists(st.sampled_from(optional), unique=True))}
    ways = 2 if direction == "bidirectional" else 1
    names = draw(
        st.lists(
            st.sampled_from(sorted(PARAMETERS)),
            min_size=FUNCTIONS[kind] * ways,
            max_size=FUNCTIONS[kind] * ways,
        )
    )
    layer = Recurrent(
        kind=kind,
        direction=direction,
        operands=tuple(name for name in OPERANDS if name in kept),
        activations=tuple(GateFunction(name, *PARAMETERS[name]) for name in names),
        clip=draw(st.sampled_from([0.0, 0.4])),
        linear_before_reset=kind == "gru" and draw(st.booleans()),
        input_forget=kind == "lstm" and draw(st.booleans()),
    )
    steps, rows, width = (draw(st.integers(1, most)) for most in (6, 4, 9))
    hidden = draw(st.sampled_from([1, 7, 16, 35]))
    state = draw(st.sampled_from([1, 5, 17])) if "proj" in kept else hidden
    gates = GATES[kind] * hidden
    shapes = {
        "x": (steps, rows, width), "w": (ways, gates, width), "r": (ways, gates, state),
        "b": (ways, 2 * gates), "h": (ways, rows, state), "c": (ways, rows, hidden),
        "p": (ways, 3 * hidden), "proj": (ways, state, hidden),
    }  # fmt: skip
    rng, dtype = np.random.default_rng(draw(st.integers(0, 999))), draw(st.sampled_from(dtypes))
    arrays = {
        name: (rng.standard_normal(shape) * min(0.6, shape[-1] ** -0.5)).astype(dtype)
        for name, shape in shapes.items()
    }
    arrays["lengths"] = rng.integers(0, steps + 1, rows).astype("i4")
    return layer, {name: arrays[name] for name in layer.operands}


def module(made, fixed):
    """Layers side by side; of each, the operands in `fixed` are constants. And the feeds."""
    builder, params, calls, feeds = relax.BlockBuilder(), [], [], []
    for layer, arrays in made:
        operands = {}
        for name, array in arrays.items():
            if name in fixed:
                operands[name] = relax.const(array, str(array.dtype))
            else:
                ty = relax.TensorType(array.shape, str(array.dtype))
                operands[name] = relax.Var(f"{name}{len(params)}", ty)
                params.append(operands[name])
                feeds.append(array)
        calls.append(recurrent_call(layer, operands))
    with builder.function("main", params):
        with builder.dataflow():
            parts = []
            for (layer, _), call in zip(made, calls, strict=True):
                whole = builder.emit(call)
                parts += [whole[i] for i in range(3 if layer.kind == "lstm" else 2)]
            result = builder.emit_output(relax.Tuple(parts))
        builder.emit_func_output(result)
    return builder.get(), feeds


def same(found, expected):
    """As exact as the dtype allows: sums of many terms, hundreds of steps."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        tolerance = 1e-5 if a.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max(initial=0)))


_SETTINGS = settings(
    max_examples=4, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.mark.parametrize("fixed", [("w", "r", "b", "p", "proj"), ()], ids=["constants", "inputs"])
def test_the_host_computes_the_equations(fixed):
    @_SETTINGS
    @given(made=st.lists(layers(), min_size=6, max_size=10))
    def run(made):
        mod, feeds = module(made, fixed)
        expected = [part for layer, arrays in made for part in layer_results(layer, arrays)]
        same(byoc.compile(mod)(*feeds), expected)

    run()


@settings(_SETTINGS, max_examples=60)
@given(made=layers(dtypes=("float32",), projects=False))
def test_the_onnx_form_means_the_same(made):
    """ONNX Runtime runs it; where a row has no step it may end the process."""
    ort = pytest.importorskip("onnxruntime")
    layer, arrays = made
    if "lengths" in arrays:
        arrays["lengths"] = np.maximum(arrays["lengths"], 1)
    types = [TensorType(a.shape, str(a.dtype)) for a in arrays.values()]
    expected = layer_results(layer, arrays)
    types += [TensorType(part.shape, "float32") for part in expected]
    inputs = tuple(range(len(arrays)))
    outputs = tuple(range(len(arrays), len(types)))
    node = Node("byoc.recurrent", inputs, outputs, layer.to_attrs())
    segment = Segment("s_0", "any", tuple(types), (node,), (), inputs, outputs, {})
    session = ort.InferenceSession(
        segment_to_onnx(segment).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = dict(zip((port.name for port in session.get_inputs()), arrays.values(), strict=True))
    same(session.run(None, feeds), expected)


@given(made=layers())
@settings(_SETTINGS, max_examples=30)
def test_attributes_keep_all_of_a_layer(made):
    layer, _ = made
    assert Recurrent.of_attrs(layer.to_attrs()) == layer


def test_what_is_usual():
    gate, tanh = GateFunction("sigmoid"), GateFunction("tanh")
    kinds = {"kind": "gru", "direction": "bidirectional", "operands": ("x", "w", "r")}
    assert Recurrent(**kinds, activations=(gate, tanh, gate, tanh)).usual
    assert not Recurrent(**kinds, activations=(gate, tanh, gate, gate)).usual
    assert not Recurrent(**kinds, activations=(gate, tanh, gate, tanh), clip=1.0).usual


def test_operands_that_do_not_fit_are_refused():
    layer = Recurrent(
        kind="rnn", direction="forward", operands=("x", "w", "r", "h"),
        activations=(GateFunction("tanh"),),
    )  # fmt: skip
    sizes = {"x": (4, 2, 3), "w": (1, 5, 3), "r": (1, 5, 5), "h": (1, 3, 5)}
    operands = {k: relax.Var(k, relax.TensorType(s, "float32")) for k, s in sizes.items()}
    found = r"operand 'h' of a forward rnn has the shape \[1, 3, 5\], expected \[1, 2, 5\]"
    with pytest.raises(ValueError, match=found):
        recurrent_call(layer, operands)
    operands["h"] = relax.Var("h", relax.TensorType((1, 2, 5), "float64"))
    with pytest.raises(ValueError, match="operand 'h'.* is float64, expected float32"):
        recurrent_call(layer, operands)
