"""Programs that are drawn and printed in every way TVM has printed them; hostile texts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from byoc.errors import ModelError
from byoc.frontends import import_model, read_relay

HEAD = '#[version = "0.0.5"]\n'
TENSOR = "Tensor[(2, 3), float32]"
VALUES = {
    "x": np.array([[3, 1, -2], [0.5, -1, 4]], np.float32),
    "y": np.array([[1, -4, 2], [2, 0.25, -3]], np.float32),
}
DRAWN = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# -- one program, any printing

_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
}
_UNARY = {"negative": np.negative, "nn.relu": lambda a: np.maximum(a, 0), "abs": np.abs}

STEPS = st.lists(
    st.tuples(st.sampled_from([*_BINARY, *_UNARY]), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=6,
)
NAMES = st.lists(
    st.from_regex(r"[a-w][a-z0-9_./:\-#\[\]+~|^&@]{0,7}[a-z]", fullmatch=True),
    min_size=2,
    max_size=2,
    unique=True,
)
WRAPS = st.sampled_from(
    [
        "{}",
        "on_device({}, virtual_device=meta[VirtualDevice][0], constrain_result=True)",
        "device_copy({}, src_dev_type=1, dst_dev_type=2)",
        'annotation.compiler_end(annotation.compiler_begin({}, compiler="d"), compiler="d")',
        "split({}, indices_or_sections=1, axis=0).0",
        "(%unused = 1;\n{})",
        "/* a /* b */ */ {} /* ty=Tensor[(2, 3), float32] span=a/b.c:1:2 */",
        'fn (%p: Tensor[(2, 3), float32], Primitive=1, hash="0a") {{ %p }}({})',
        "({}, 1f).0",
        "if (True) {{ {} }} else {{ 1f }}",
        "let_{}",
    ]
)
HEADS = st.sampled_from(
    [
        HEAD,
        "v0.0.4\n",
        '#[version = "0.0.4"]\n',
        "\ufeff" + HEAD,
        HEAD + "type List[A] {\n  Cons(A, List[A]),\n  Nil,\n}\nextern type Storage\n",
        HEAD + "def @hd[A](%l: L[A]) -> A { match? (%l) { Cons(%h: A, _) => { %h }, N => 1f } }\n",
    ]
)
SHAPES = st.sampled_from(["main", "lone", "script", "vendor"])


def _program(steps, names, wrap, shape, virtual, dimension):
    """The text of a straight program, and numpy's answer."""
    values = [VALUES["x"], VALUES["y"]]
    refs = [f"%{name}" for name in names]
    lines = []
    for number, (name, i, j) in enumerate(steps):
        left, right = i % len(refs), j % len(refs)
        if name in _BINARY:
            values.append(_BINARY[name](values[left], values[right]))
            call = f"{name}({refs[left]}, {refs[right]})"
        else:
            values.append(_UNARY[name](values[left]))
            call = f"{name}({refs[left]})"
        if wrap == "let_{}":
            lines.append(f"let %{number}: {TENSOR} = {call};")
        else:
            lines.append(f"%{number} = {wrap.format(call)};")
        refs.append(f"%{number}")
    kind = TENSOR.replace("2, 3", dimension)
    body = "\n".join([*lines, refs[-1]])
    params = ", ".join(f"%{name}{virtual}: {kind}" for name in names)
    if shape == "script":
        text = "".join(f"free_var %{name}: {kind};\n" for name in names) + body
    elif shape == "lone":
        text = f"fn ({params}) {{\n{body}\n}}"
    else:
        text = f"def @{'main' if shape == 'main' else 'a/b:0'}({params}) {{\n{body}\n}}"
        if shape != "main":
            passed = ", ".join(f"%{name}" for name in names)
            text += f"\ndef @main({params}) {{ @a/b:0({passed}) }}"
    return text, values[-1]


@given(
    STEPS,
    NAMES,
    WRAPS,
    HEADS,
    SHAPES,
    st.sampled_from(["", " {virtual_device=VirtualDevice(device_type=1, virtual_device_id=0)}"]),
    st.sampled_from(["2, 3", "2i64, 3i64", "?, 3", "Any(), 3"]),
    st.sampled_from(["\n", "\r\n"]),
)
@DRAWN
def test_every_printing_of_a_program_gives_its_answer(
    tools, steps, names, wrap, head, shape, virtual, dimension, newline
):
    text, expected = _program(
        steps, names, wrap, shape, "" if shape == "script" else virtual, dimension
    )
    model = import_model(read_relay((head + text).replace("\n", newline)))
    assert model.inputs == tuple(names)
    np.testing.assert_array_equal(tools.run(model.mod, VALUES["x"], VALUES["y"])[0], expected)


@given(STEPS, NAMES, WRAPS, st.floats(0, 1), st.floats(0, 1), st.booleans())
@DRAWN
def test_what_is_cut_off_is_refused_with_its_place(steps, names, wrap, begin, end, cut_inside):
    text, _ = _program(steps, names, wrap, "main", "", "2, 3")
    first, last = sorted(int(part * len(text)) for part in (begin, end))
    damaged = text[:first] + text[last:] if cut_inside else text[:last]
    try:
        import_model(HEAD + damaged)
    except ModelError as error:
        assert str(error).startswith("<text>:"), error
        assert len(str(error)) < 5000


# -- literals


@given(
    st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64"]),
    st.integers(-(2**66), 2**66) | st.floats(-1e40, 1e40),
)
@DRAWN
def test_a_literal_has_its_value_or_is_refused(dtype, value):
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        value = int(value)
        fits = np.iinfo(kind).min <= value <= np.iinfo(kind).max
    else:
        with np.errstate(over="ignore"):
            fits = bool(np.isfinite(kind.type(value)))
    suffix = f"{kind.kind}{kind.itemsize * 8}"
    digits = f"{value!r}".removeprefix("-")
    text = HEAD + f"add({digits}{suffix}, {'0' if kind.kind in 'iu' else '0.0'}{suffix})"
    try:
        found = import_model(read_relay(text)).mod["main"]
    except ModelError as error:
        assert "does not fit" in str(error)
        assert not fits or (kind.kind in "iu" and value < 0)  # the sign stands before the literal
        return
    assert fits or (kind.kind in "iu" and value < 0)
    constant = found.body.body
    assert constant is not None


@pytest.mark.parametrize(
    "name, dtype", [("int", "int32"), ("uint", "uint32"), ("float", "float32")]
)
def test_a_dtype_without_bits_has_thirty_two(name, dtype):
    model = import_model(HEAD + f"def @main(%x: {name}) {{ %x }}")
    assert str(model.mod["main"].params[0].ty.dtype).removeprefix("T.") == dtype


def test_float_attributes_are_double(tools):
    text = HEAD + "def @main(%x: Tensor[(1), float64]) { nn.leaky_relu(%x, alpha=0.1f) }"
    found = tools.run(import_model(text).mod, np.array([-1.0]))[0]
    assert found[0] == -0.1


# -- hostile texts

N = 3000
HOSTILE = {
    "parentheses": "(" * N + "%x",
    "tuples": "(" * N + "%x" + ",)" * N,
    "calls": "abs(" * N + "%x" + ")" * N,
    "signs": "-" * N + "%x",
    "fields": "%x" + ".0" * N,
    "functions": "fn () { " * N + "%x" + " }" * N,
    "branches": "if (True) { " * N + "%x" + " } else { %x }" * N,
    "else if": "if (True) { %x } else " * N + " { %x }",
    "lets": "(let %a = " * N + "%x" + "; %a)" * N,
    "patterns": "match (%x) { " + "A(" * N + "_" + ")" * N + " => %x }",
    "attributes": "sum(%x, axis=" + "[" * N + "]" * N + ")",
    "digits": "add(%x, " + "9" * N + "f)",
    "exponent": "add(%x, 1e" + "9" * N + "f)",
    "doubling tuples": "%0 = (%x, %x);\n"
    + "".join(f"%{i + 1} = (%{i}, %{i});\n" for i in range(40))
    + "%40",
    "split": "split(%x, indices_or_sections=1000000000)",
    "pool": "nn.adaptive_avg_pool2d(%x, output_size=[999999999, 99999999])",
    "repeat": "repeat(%x, repeats=999999999999999, axis=0)",
    "pad": "nn.mirror_pad(%x, pad_width=[[0, 999999999999], [0, 0]])",
    "one_hot": 'one_hot(cast(%x, dtype="int32"), 1f, 0f, depth=99999999999)',
    "arange": 'arange(0f, nanf, 1f, dtype="float32")',
    "open comments": "/*" * N + "%x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_refused_with_a_place(name):
    start = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        import_model(HEAD + f"def @main(%x: {TENSOR}) {{\n{HOSTILE[name]}\n}}")
    assert str(caught.value).startswith("<text>:")
    assert len(str(caught.value)) < 5000
    assert time.perf_counter() - start < 60  # no hang; on a quiet machine a second
