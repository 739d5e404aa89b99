"""What is wrong with a document, said by its first wrong field."""

from __future__ import annotations

import pydantic
import pytest

from byoc.support.validation import first_problem


class _Inner(pydantic.BaseModel):
    sizes: list[int]


class _Document(pydantic.BaseModel):
    inner: dict[str, _Inner]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"inner": None}, "inner: input should be a valid dictionary"),
        ({"inner": {"a": {"sizes": [1, "x"]}}}, "inner.a.sizes.1: input should be a valid integer"),
        (None, "the file: input should be a valid dictionary or instance of _Document"),
    ],
)
def test_the_first_wrong_field_is_named(value, expected):
    with pytest.raises(pydantic.ValidationError) as caught:
        _Document.model_validate(value)
    problem = first_problem(caught.value, "the file")
    assert problem.startswith(expected)
    assert "NoneType" not in problem
