"""The formats have one shape, and cost nothing until one is read."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from layout_rules import Checkout, circles

from byoc.frontends import FRONTENDS, Frontend

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "byoc" / "frontends"
FORMATS = ("onnx", "tflite", "torch", "relay")


def test_the_formats_are_values():
    assert all(isinstance(f, Frontend) for f in FRONTENDS)
    assert sorted(f.name for f in FRONTENDS) == sorted((*FORMATS, "relax"))
    with pytest.raises(AttributeError):
        FRONTENDS[0].name = "other"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_same_modules(name):
    for part in ("__init__.py", "file.py", "context.py", "walk.py", "ops/table.py"):
        assert (FOLDER / name / part).is_file(), part


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_is_that_of_the_families_each_operator_once(name):
    """A new operator needs no other file than that of its family."""
    if name == "torch":
        pytest.importorskip("torch")
    table = importlib.import_module(f"byoc.frontends.{name}.ops.table").OPERATORS
    families = []
    for path in sorted((FOLDER / name / "ops").rglob("*.py")):
        inside = path.relative_to(FOLDER).with_suffix("").parts
        module = importlib.import_module(".".join(("byoc.frontends", *inside)))
        families += [
            value
            for key, value in vars(module).items()
            if key == path.stem.upper() and isinstance(value, dict)
        ]
    assert len(families) > 5
    operators = [operator for family in families for operator in family]
    repeated = {o for o in operators if operators.count(o) > 1}
    if name == "tflite":  # in integers for int16 activations, else in floats
        from byoc.frontends.tflite.ops.int16 import INT16

        repeated -= set(INT16)
    assert repeated == set()
    assert set(operators) == set(table)


@pytest.mark.parametrize("name", FORMATS)
def test_a_converter_takes_the_context_of_its_format_first(name):
    for path in (FOLDER / name / "ops").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        for table in (n for n in tree.body if isinstance(n, ast.AnnAssign)):
            if not isinstance(table.value, ast.Dict):
                continue
            for value in table.value.values:
                if isinstance(value, ast.Name) and value.id in functions:
                    args = functions[value.id].args
                    first = [*args.posonlyargs, *args.args][0]
                    assert first.arg == "c", value.id
                    assert first.annotation.id == f"{name.capitalize()}Context", value.id


def test_importing_the_frontends_imports_no_format():
    code = """
import sys
import byoc.frontends
print([m for m in ("torch", "tflite", "lark", "onnx") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_modules_import_each_other_in_a_circle():
    """Also not within functions, nor for typing."""
    assert [found for found in circles(Checkout(ROOT)) if "byoc.frontends" in found] == []
