"""Which errors fuzzers take for refusals, and which for failures."""

from __future__ import annotations

import pytest

from byoc.errors import InternalError, ModelError
from byoc.testing.on_purpose import accident


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (KeyError("x"), "KeyError is no error of byoc"),
        (InternalError("model 'm': byoc failed"), "InternalError is no error of byoc"),
        (ModelError("node 'a': 'Var' object has no attribute 'value'"), "shows the inside"),
        (ModelError("int() argument must be a number, not 'Var'"), "shows the inside"),
        (ModelError("Check failed: (x) is false"), "shows the inside"),
        (ModelError("node 'a' takes R.shape([1])"), "shows the inside"),
        (caused(ModelError("node 'a' is odd"), AttributeError("no x")), "is a AttributeError"),
        (
            caused(ModelError("node 'a'"), caused(ModelError("b"), AssertionError("c"))),
            "is a AssertionError: c",
        ),
    ],
)
def test_an_accident_is_found_behind_an_error_of_byoc(error: Exception, why: str) -> None:
    assert why in (accident(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        ModelError("model 'm': node 'a' (Relu): input 'x' is float32[2], expected float32[3]"),
        caused(ModelError("m.onnx cannot be read: no such file"), FileNotFoundError(2, "none")),
        caused(ModelError("node 'a': axis 3 is out of range"), ValueError("axis 3")),
    ],
)
def test_a_refusal_is_none(error: Exception) -> None:
    assert accident(error) is None
