"""Arithmetic in files of users: worked out exactly, and never run."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.dse.expressions import parse_expression, parse_number
from byoc.errors import OptionError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("array.rows", 16),
        ("array.rows * array.columns <= 128", True),
        ("array.rows / 3 * 3", 16),  # fractions stay exact
        ("64KiB // 3", 21845),
        ("2 < array.rows < 20 and not array.rows == 4", True),
        ("max(array.rows, 4) if kind == 'a' else 1", 16),
        ("ceil(array.rows / 3)", 6),
        ("-array.rows % 5", 4),
        ("1.5 * 2", 3),
    ],
)
def test_an_expression_has_the_value_that_python_gives(text, value):
    values = {"array.rows": 16, "array.columns": 8, "kind": "a"}
    assert parse_expression(text, "here")(values) == value


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('true')", "open('x')", "[1]", "lambda: 1", "a ** b", "a[0]", "f'{a}'",
     "(a := 1)", "min(a, key=b)", "a.b()", "1 << 9", "True", "x for x in y", "", "a +", "(" * 400,
     "1" * 600, "a @ b", "...", "b'x'"],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused_in_a_sentence(text):
    with pytest.raises(OptionError, match="here: "):
        parse_expression(text, "here")({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("text", "why"),
    [("a / 0", "division"), ("a / 3", "no whole number"), ("w + 1", "no number"),
     ("a < w", "no value"), ("9999999999 * 9999999999", "too large"), ("1e999 + a", "no value")],
)  # fmt: skip
def test_what_has_no_value_is_told(text, why):
    with pytest.raises(OptionError, match=rf"here: .*{why}"):
        parse_expression(text, "here")({"a": 1, "w": "word"})


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text):
    with contextlib.suppress(OptionError, KeyError):  # unknown names are found by the space
        parse_expression(text, "here")({})


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.recursive(
    st.integers(0, 99).map(str) | st.sampled_from(["a", "b.c"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(
        lambda t: f"({t[0]} {t[1]} {t[2]})"
    ),
    max_leaves=8,
))  # fmt: skip
def test_whole_arithmetic_is_python_s(text):
    values = {"a": 7, "b.c": 3}
    try:
        expected = eval(text.replace("b.c", "3"), {"a": 7})
    except ZeroDivisionError:
        return
    if abs(expected) < 1 << 40:
        assert parse_expression(text, "here")(values) == expected


@pytest.mark.parametrize(
    ("text", "value"), [("200k", 200_000), ("64KiB", 65536), (900, 900), ("1.5k", 1500)]
)  # fmt: skip
def test_numbers_have_units(text, value):
    assert parse_number(text, "lut") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [("12q", "unknown unit 'q'.*KiB"), ("x", "no number"), ("", "no number"), ("-5", "no number"),
     ("0.5", "not a whole number"), (True, "no number"), ("1" * 99, "not a whole number")],
)  # fmt: skip
def test_bad_numbers_are_told(text, why):
    with pytest.raises(OptionError, match=rf"lut: .*{why}"):
        parse_number(text, "lut")
