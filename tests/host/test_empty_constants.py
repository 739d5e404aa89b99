"""Constants without elements in programs of the VM: saved and loaded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import byoc

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
graph (float[n, 3] x, bool yes) => (float[m, 3] joined, {dtype}[2, 0] alone, {dtype}[k, 0] chosen)
    <{dtype}[2, 0] empty = {{}}, float[0, 3] no_rows = {{}}, {dtype}[0, 0] nothing = {{}},
     {dtype}[4, 0] other = {{}}>
{{
    joined = Concat<axis=0>(x, no_rows)
    alone = Identity(empty)
    chosen = If (yes) <
        then_branch = one () => ({dtype}[k, 0] a) {{ a = Concat<axis=0>(empty, nothing) }},
        else_branch = two () => ({dtype}[k, 0] b) {{ b = Identity(other) }}
    >
}}
"""
"""Empty constants as a result, in branches, as an operand; with and without a first length of 0."""


@pytest.mark.parametrize("dtype", ["float", "int64", "float16", "bool"])
def test_empty_constants_are_loaded_again(dtype: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MODEL.format(dtype=dtype))
    exe = byoc.compile(model)
    exe.save(tmp_path / "m.byoc")
    again = byoc.load(tmp_path / "m.byoc")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for yes in (True, False):
        for program in (exe, again):
            joined, alone, chosen = program(x, np.array(yes))
            np.testing.assert_array_equal(joined, x)
            assert np.asarray(alone).shape == (2, 0)
            assert np.asarray(chosen).shape == (2 if yes else 4, 0)
