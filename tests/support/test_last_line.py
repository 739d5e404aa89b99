"""The readable end of TVM's exceptions."""

from __future__ import annotations

import pytest

from byoc.support.last_line import last_line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Traceback\n  File x\nCheck failed: (a > (b)) is false: one_hot: depth is 0\n",
         "one_hot: depth is 0"),
        ("InternalError: Check failed: b != 0 (0 vs. 0) : Divide by zero", "Divide by zero"),
        ("Check failed: (ret == 0) is false: ", "Check failed: (ret == 0) is false:"),
        ("plain words: (yes) is false: no", "plain words: (yes) is false: no"),
        ("  \n", "ValueError"),
    ],
)  # fmt: skip
def test_conditions_of_c_are_left_out(text: str, said: str) -> None:
    assert last_line(ValueError(text)) == said
    assert last_line(ValueError("x" * 400)) == "x" * 300
