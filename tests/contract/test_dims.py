"""Dimension expressions: one reader, one printer, one meaning, whatever the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byoc.dims import (
    UNKNOWN,
    DimensionError,
    Operation,
    canonical,
    evaluate,
    is_legal,
    is_name,
    names,
    parse,
    show,
    size_of,
)

SIGNS = ("+", "-", "*", "//", "%", "max", "min")
NAMES = ("n", "m", "seq_len", "größe")

expressions = st.recursive(
    st.integers(-(10**12), 10**12) | st.sampled_from(NAMES),
    lambda inner: st.builds(Operation, st.sampled_from(SIGNS), inner, inner),
    max_leaves=40,
)
sizes_of_names = st.fixed_dictionaries({name: st.integers(-5, 10**6) for name in NAMES})


@given(expressions, sizes_of_names)
def test_what_is_printed_reads_back_and_means_what_python_says(expr, sizes):
    text = show(expr)
    assert parse(text) == expr
    assert canonical(text) == text
    assert names(text) <= set(NAMES)
    try:
        expected = eval(str(text), {"max": max, "min": min}, sizes)
    except ZeroDivisionError:
        assert size_of(text, sizes) is None
    else:
        assert evaluate(text, sizes) == size_of(text, sizes) == expected


@given(st.text(alphabet="nm019 +-*/%(),?_.maxin\n\0é²٣", max_size=60) | st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    if is_legal(text):
        assert parse(show(parse(text))) == parse(text)
        assert names(canonical(text)) == names(text)
    else:
        with pytest.raises(DimensionError, match="is not an expression over"):
            canonical(text)
        assert size_of(text, dict.fromkeys(names(text), 1)) is None


@pytest.mark.parametrize(
    ("text", "one_spelling"),
    [
        (7, 7), ("7", 7), ("(007)", 7), ("-7", -7), ("n", "n"), (" ( n*12 ) ", "n * 12"),
        ("n+(m-2)", "n + (m - 2)"), ("(n-m)-2", "n - m - 2"), ("n*(m+1)", "n * (m + 1)"),
        ("n + -1", "n + (-1)"), ("-n * 2", "(0 - n) * 2"), ("a / b", "a // b"),
        ("max(n, m, 4)", "max(max(n, m), 4)"), ("min(n)", "n"), ("max", "max"),
        ("in", "in"), ("lambda + 1", "lambda + 1"),
    ],
)  # fmt: skip
def test_one_spelling(text, one_spelling):
    assert canonical(text) == one_spelling


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a number or a name is missing at the end"),
        ("n +", "missing at the end"),
        ("* n", "missing before '\\*'"),
        ("n m", "'m' is not expected there"),
        ("max()", "missing before '\\)'"),
        ("max(n", "a '\\)' is missing"),
        ("f(n)", "'\\(' is not expected there"),
        ("n.real", "column 2 is no number, name or operator"),
        ("1e9", "column 1 is no number"),
        ("n ** 9", "missing before '\\*'"),
        ("n + ?", "column 4"),
        (UNKNOWN, "column 1"),
        ("__import__('os').system('x')", "column 12"),
        ("(" * 5000 + "n" + ")" * 5000, "longer than 4096 characters"),
        ("(" * 100 + "n" + ")" * 100, "nested more than 64 deep"),
        ("-" * 4000 + "n", "nested more than 64 deep"),
        ("n" + "+1" * 1000, "more than 256 operations"),
        ("max(n" + ",1" * 1000 + ")", "more than 256 operations"),
    ],
)
def test_what_is_no_expression_says_why(text, why):
    with pytest.raises(DimensionError, match=why) as caught:
        parse(text)
    assert len(str(caught.value)) < 400
    assert not is_legal(text)


def test_evaluation_says_what_it_lacks():
    with pytest.raises(DimensionError, match="'n \\* m' depends on 'm', whose size is not given"):
        evaluate("n * m", {"n": 2})
    with pytest.raises(DimensionError, match="'n // 0' divides by zero"):
        evaluate("n // 0", {"n": 2})
    assert evaluate(5, {}) == 5
    assert size_of("n + ?", {"n": 2}) is None


def test_names():
    assert names(4) == names("2 * 3") == names(UNKNOWN) == frozenset()
    assert names("max(n, 4) * min(m, n)") == {"n", "m"}
    assert names("n + ?") == {"n"}
    assert is_name("n") and is_name("seq_len")
    assert not any(map(is_name, (3, "3", "n + 1", UNKNOWN, "max", "2d")))
