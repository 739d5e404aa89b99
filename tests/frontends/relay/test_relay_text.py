"""The text format, construct by construct: what a file says, and what numpy makes of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import numpy as np
import pytest

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model
from byoc.testing.zoo.relay_file import tensor_bytes

HEAD = '#[version = "0.0.5"]\n'
X = np.random.default_rng(7).normal(0, 1, (2, 3)).astype(np.float32)
SECTION = {
    "root": 1,
    "nodes": [
        {"type_key": ""},
        {"type_key": "Map", "keys": ["relay.Constant", "Array"], "data": [2, 4]},
        {"type_key": "Array", "data": [3]},
        {"type_key": "relay.Constant", "attrs": {"data": "0", "span": "0"}},
        {"type_key": "Array", "data": [5]},
        {"type_key": "Array", "data": [6, 7]},
        {"type_key": "IntImm", "attrs": {"dtype": "int32", "value": "1"}},
        {"type_key": "IntImm", "attrs": {"dtype": "int32", "value": "0"}},
    ],
    "b64ndarrays": [base64.b64encode(tensor_bytes(np.array([1, 2, 3], np.float32))).decode()],
    "attrs": {"tvm_version": "0.12.0"},
}
METADATA = "\n#[metadata]\n" + json.dumps(SECTION, indent=2)


@dataclass(frozen=True)
class Fixture:
    text: str
    expected: object
    inputs: tuple = (X,)


def main(body: str, params: str = "%x: Tensor[(2, 3), float32]") -> str:
    return f"def @main({params}) {{\n{body}\n}}\n"


RELU = np.maximum(X, 0)
FIXTURES = {
    "graph_bindings": Fixture(main("%0 = nn.relu(%x);\n%1 = add(%0, %x);\n%1"), RELU + X),
    "nested_calls": Fixture(main("add(nn.relu(%x), %x)"), RELU + X),
    "lets": Fixture(main("let %a = nn.relu(%x);\nlet %b: Tensor[(2, 3), float32] = exp(%a);\n%b"),
                    np.exp(RELU)),
    "let_shadows": Fixture(main("let %a = exp(%x); let %a = nn.relu(%a); %a"), np.exp(X)),
    "let_in_parentheses": Fixture(main("add((let %a = exp(%x); %a), %x)"), np.exp(X) + X),
    "infix_precedence": Fixture(main("%x + %x * 2f - %x / 4f"), X + X * 2 - X / 4),
    "prefix_minus": Fixture(main("-%x * -2f"), X * 2),
    "comparison": Fixture(main('cast(%x >= 0f, dtype="int32")'), (X >= 0).astype(np.int32)),
    "float_literals": Fixture(main("add(multiply(%x, 1.5f), -1e-2f)"), X * 1.5 - 0.01),
    "infinity": Fixture(main("maximum(%x, -inff)"), X),
    "other_literals": Fixture(
        main("add(cast(%x, dtype=\"float64\"), add(2f64, cast(3i64, dtype=\"float64\")))"),
        X.astype(np.float64) + 5),
    "typed_literal": Fixture(main('add(cast(%x, dtype="int8"), int8(2))'),
                             X.astype(np.int8) + np.int8(2)),
    "tuples": Fixture(main("%0 = (%x, nn.relu(%x));\nadd(%0.0, %0.1)"), X + RELU),
    "nested_projection": Fixture(main("%0 = (%x, (exp(%x),));\n%0.1.0"), np.exp(X)),
    "several_outputs": Fixture(main("(nn.relu(%x), (exp(%x), %x))"), [RELU, np.exp(X), X]),
    "split_result": Fixture(main("%0 = split(%x, indices_or_sections=3, axis=1);\n%0.2"),
                            X[:, 2:]),
    "concatenate_tuple": Fixture(main("concatenate((%x, %x), axis=1)"), np.hstack([X, X])),
    "typed_result_and_comments": Fixture(
        "def @main(%x: Tensor[(2, 3), float32] /* ty=Tensor[(2, 3), float32] */)"
        " -> Tensor[(2, 3), float32] {\n  // relu\n"
        "  nn.relu(%x) /* ty=Tensor[(2, 3), float32] span=from_string:1:1 */\n}\n", RELU),
    "lone_function": Fixture("fn (%x: Tensor[(2, 3), float32]) { nn.relu(%x) }", RELU),
    "global_functions": Fixture(
        "def @twice(%a: Tensor[(2, 3), float32]) { add(%a, %a) }\n" + main("@twice(@twice(%x))"),
        X * 4),
    "function_defined_later": Fixture(main("@f(%x)") + "def @f(%a) { exp(%a) }\n", np.exp(X)),
    "closure_in_binding": Fixture(
        main("%0 = fn (%a: Tensor[(2, 3), float32], Primitive=1) { exp(%a) };\n%0(%x)"), np.exp(X)),
    "closure_called_in_place": Fixture(main("fn (%a) { add(%a, %x) }(%x)"), X * 2),
    "function_as_argument": Fixture(
        "def @apply(%f: fn (Tensor[(2, 3), float32]) -> Tensor[(2, 3), float32], %a) "
        "{ %f(%f(%a)) }\n" + main("@apply(fn (%v) { add(%v, 1f) }, %x)"), X + 2),
    "branch": Fixture(
        main("%0 = sum(%x);\nif (greater(%0, 100f)) { nn.relu(%x) } else { negative(%x) }"), -X),
    "branch_of_tuples": Fixture(
        main("%0 = if (less(sum(%x), 100f)) { (%x, exp(%x)) } else { (exp(%x), %x) };\n%0.1"),
        np.exp(X)),
    "chained_else_if": Fixture(
        main("if (False) { %x } else if (True) { exp(%x) } else { %x }"), np.exp(X)),
    "constant_condition_is_taken": Fixture(main("if (True) { exp(%x) } else { nn.nosuch(%x) }"),
                                           np.exp(X)),
    "recursion_that_ends": Fixture(
        "def @pow(%a, %n) { if (equal(%n, 0)) { %a } else { @pow(multiply(%a, 2f), "
        "subtract(%n, 1)) } }\n" + main("@pow(%x, 5)"), X * 32),
    "metadata_constant": Fixture(
        main("multiply(%x, meta[relay.Constant][0] /* ty=Tensor[(3), float32] */)") + METADATA,
        X * np.array([1, 2, 3], np.float32)),
    "metadata_attribute": Fixture(main("transpose(%x, axes=meta[Array][0])") + METADATA, X.T),
    "statement_without_value": Fixture(main("exp(%x);\nnn.relu(%x)"), RELU),
    "scalars_and_unit_types": Fixture(
        main("add(%x, %s)", "%x: Tensor[(2, 3), float32], %s: float32"), X + 3,
        (X, np.array(3, np.float32))),
    "tuple_parameter": Fixture(
        main("subtract(%p.0, %p.1)", "%p: (Tensor[(2, 3), float32], Tensor[(3), float32])"),
        X - X[0], (X, X[0])),
    "any_dimension": Fixture(main("nn.relu(%x)", "%x: Tensor[(?, 3), float32]"), RELU),
    "names_with_colons_and_slashes": Fixture(
        main("%0 = nn.relu(%onnx::Conv_1);\nadd(%0, %a/b/c)",
             "%onnx::Conv_1: Tensor[(2, 3), float32], %a/b/c: Tensor[(2, 3), float32]"),
        RELU + 1, (X, np.ones_like(X))),
    "wrapped_lines": Fixture(main("%0 = clip(%x,\n     a_min=-0.5f,\n\n     a_max=0.5f)\n;\n%0"),
                             np.clip(X, -0.5, 0.5)),
    "text_attributes": Fixture(
        main('layout_transform(%x, src_layout="NC", dst_layout="CN")'), X.T),
    "nested_list_attributes": Fixture(
        main('nn.pad(%x, 0f, pad_width=[[0, 1], [1, 0]])'), np.pad(X, ((0, 1), (1, 0)))),
    "none_and_bool_attributes": Fixture(
        main("%0 = sum(%x, axis=None, keepdims=True);\nnn.dense(%x, %x, units=None)"), X @ X.T),
}  # fmt: skip


def test_there_are_thirty_fixtures():
    assert len(FIXTURES) >= 30


@pytest.mark.parametrize("name", FIXTURES)
def test_constructs(name, tools):
    fixture = FIXTURES[name]
    imported = import_model(HEAD + fixture.text)
    assert imported.source == "relay"
    found = tools.run(imported.mod, *fixture.inputs)
    expected = fixture.expected if isinstance(fixture.expected, list) else [fixture.expected]
    assert len(found) == len(expected) == len(imported.outputs)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


REFUSED = {
    "unknown operator": (main("nn.sparse_dense(%x)"), "3:1: nn.sparse_dense: byoc does not read"),
    "typo": (main("nn.conv2x(%x, %x)"), "did you mean 'nn.conv2d'"),
    "cycle": (main("%0 = add(%0, %x);\n%0"), "3:10: %0 is read, and nothing before binds it"),
    "unbound": (main("%0 = exp(%y);\n%0"), "3:10: %y is read"),
    "bound twice": (main("%0 = exp(%x);\n%0 = exp(%x);\n%0"), "4:1: %0 is bound twice"),
    "parameter twice": ("def @main(%x: float32, %x: float32) { %x }", "2:24: two parameters"),
    "function twice": (main("%x") + main("%x"), "5:5: @main is defined twice"),
    "no main": ("def @f(%x: float32) { %x }\ndef @g(%x: float32) { %x }",
                "1:1: there is no function @main, only @f, @g"),
    "nothing": ("", "1:1: expected `def @main"),
    "unknown function": (main("@g(%x)"), "3:1: @g is no Relay function"),
    "argument count": (main("nn.relu(%x, %x)"), "3:1: nn.relu: it takes 1 arguments, found 2"),
    "attribute": (main("nn.relu(%x, size=2)"), "3:1: nn.relu: it has no attribute 'size'"),
    "attribute twice": (main("sum(%x, axis=[0], axis=[1])"), "3:19: the attribute 'axis'"),
    "missing attribute": (main("clip(%x, a_min=0f)"), "3:1: clip: its attribute 'a_max'"),
    "types do not fit": (main("add(%x, ones(shape=[7], dtype=\"float32\"))"), "3:1: add:"),
    "declared otherwise": (
        "def @f(%a: Tensor[(9), float32]) { %a }\n" + main("@f(%x)"), "declared with shape (9,)"),
    "missing section": (main("add(%x, meta[relay.Constant][0])"), "3:9: meta[relay.Constant][0]"),
    "missing entry": (main("add(%x, meta[relay.Constant][4])") + METADATA, "section has 1 such"),
    "field": (main("%0 = (%x,);\n%0.1"), "4:3: field 1 of a tuple of 1"),
    "field of a tensor": (main("%x.0"), "3:3: a field of what is no tuple"),
    "call of a tensor": (main("%x(%x)"), "3:1: a call of what is no function"),
    "function as result": (main("fn (%a) { %a }"), "no tensor"),
    "match": (main("match (%x) { Nil => %x }"), "algebraic data types"),
    "adt": ("type List[A] { Nil }\n" + main("Nil"), "no tensor"),
    "field or name": (
        main("let %t = (%x, %x);\nadd(%t.1, %x)", "%x: Tensor[(2), float32], %t.1: float32"),
        "4:5: %t.1 can be meant in two ways"),
    "read before its branch": (
        main("%1 = add(%0, %x);\nif (less(sum(%x), 0f)) { %0 = exp(%x); %0 } else { %1 }"),
        "3:10: %0 is read"),
    "reference": (main("%0 = ref(%x);\nref_read(%0)"), "references have no place"),
    "layout of other letters": (
        main('layout_transform(%x, src_layout="NC", dst_layout="NH")'), "NH"),
    "blocks that do not fit": (
        main('layout_transform(%x, src_layout="NC", dst_layout="NC2c")'), "C of 3 is not made of"),
    "loop": (
        "def @loop(%a) { if (less(sum(%a), 9f)) { @loop(add(%a, 1f)) } else { %a } }\n"
        + main("@loop(%x)"), "calls itself while data decides"),
    "endless recursion": ("def @f(%a) { @f(%a) }\n" + main("@f(%x)"), "2:14:"),
    "untyped input": ("def @main(%x) { %x }", "2:11: the parameter %x of @main has no type"),
    "huge shape": (main("%x", "%x: Tensor[(4611686018427387904, 99), float32]"), "larger"),
    "huge number": (main("%x", "%x: Tensor[(99999999999999999999999), float32]"), "does not fit"),
    "huge result": (main("zeros(shape=[1048576, 1048576, 1048576], dtype=\"int8\")"), "larger"),
    "version": ('#[version = "0.0.6"]\n' + main("%x"), "version '0.0.6'"),
    "unfinished": ("def @main(%x: float32) {\n  add(%x, ", "3:10: expected"),
    "stray character": (main("add(%x, $)"), "3:9: unexpected '$'"),
    "open comment": (main("%x /* never closed"), "3:5:"),
    "bad section": (main("%x") + "#[metadata]\n{\"root\": [}", "6:11: no JSON"),
    "deep nesting": (main("nn.relu(" * 500 + "%x" + ")" * 500), "nested deeper than 100"),
    "deep infix": (main("%x" + " + 1f" * 500), "nested deeper than 100"),
    "doubling functions": (
        "".join(f"def @f{i}(%a) {{ @f{i - 1}(@f{i - 1}(%a)) }}\n" for i in range(40, 0, -1))
        + "def @f0(%a) { exp(%a) }\n" + main("@f40(%x)"), "500 operators"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_place(name, monkeypatch):
    monkeypatch.setattr("byoc.frontends.relay.walk._INLINED", 500)  # 50 000: 5 s of work
    text, expected = REFUSED[name]
    full = text if text.startswith("#[version") else HEAD + text
    with pytest.raises(ModelError) as caught:
        import_model(full)
    message = str(caught.value)
    assert message.startswith("<text>:")
    assert expected in message


def test_an_operator_that_is_not_covered_is_listed_with_those_that_are():
    with pytest.raises(ModelError, match=r"legal: abs, acos.*nn\.conv2d.*where, zeros"):
        import_model(HEAD + main("nn.deformable_conv2d(%x, %x, %x)"))


def test_names_are_those_of_the_source(tools):
    text = (
        HEAD
        + "def @f(%a) { let %b = exp(%a); nn.relu(%b) }\n"
        + main("%0 = @f(%x);\n%1 = @f(%0);\n%7 = sin(%1);\ncos(%7)")
    )
    names = [n.name for n in _graph(text).order()]
    assert names == ["f/%b", "f/relu", "f/%b#2", "f/relu#2", "%7", "cos"]


def _graph(text):
    from byoc.frontends import read_relay
    from byoc.frontends.relay.walk import build

    return build(read_relay(text)).graph


def test_thousands_of_lines_are_read():
    """Not timed: a quadratic reader would not come back."""
    count = 5000
    lines = "".join(f"  %{i} = add(%{i - 1 if i else 'x'}, 1f);\n" for i in range(count))
    graph = _graph(HEAD + main(f"{lines}%{count - 1}"))
    assert len(graph.order()) == count


def test_the_file_is_recognised_by_content(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("// printed\n" + HEAD + main("nn.relu(%x)"))
    found = byoc.compile(path)(X)
    np.testing.assert_allclose(found, RELU)


def test_params_belong_to_relay(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07")
    with pytest.raises(ModelError, match="params= are those of a Relay file"):
        byoc.partition_model(path, params={})
