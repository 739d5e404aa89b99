"""What ``import byoc`` promises: these names, typed and documented."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

import byoc
from byoc.support import moved_modules

DESIGNED = {"compile", "load", "partition_model", "vendors"}


def test_the_designed_names_are_there():
    assert set(byoc.__all__) >= DESIGNED
    assert sorted(byoc.__all__) == byoc.__all__
    assert len(set(byoc.__all__)) == len(byoc.__all__)
    assert set(dir(byoc)) >= set(byoc.__all__)


@pytest.mark.parametrize("name", byoc.__all__)
def test_every_name_exists_and_is_documented(name):
    value = getattr(byoc, name)
    assert inspect.getdoc(value), name
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, (name, parameter)


def test_lazy_names_and_typed_names_agree():
    """`__all__`, the table of homes and the imports for type checkers say the same."""
    tree = ast.parse(Path(byoc.__file__).read_text(encoding="utf-8"))
    (typing_only,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name
        for node in ast.walk(typing_only)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("byoc.")
        for alias in node.names
    }
    assert typed == set(byoc.__all__)


PUBLIC = [
    "Artifact", "ArtifactError", "ByocError", "CompileError", "Composite", "Equipment",
    "Executable", "ExecutionError", "HostArtifact", "HostRuntime", "InputError", "InternalError",
    "KernelCall", "LibraryRuntime", "LockError", "Match", "ModelError", "NativeRuntime", "Node",
    "OptionError", "PartitionReport", "PartitionResult", "Pattern", "Policy", "PythonRuntime",
    "Reject", "Requires", "Rule", "Segment", "SegmentContext", "TensorType", "Vendor",
    "VendorError", "VendorInfo", "compile", "load", "partition_model", "set_num_threads", "vendors",
]  # fmt: skip
"""Every public name. One that goes needs an alias for a release, and a line in the changelog."""


def test_no_public_name_vanishes():
    assert byoc.__all__ == PUBLIC


@pytest.mark.parametrize("old", sorted(moved_modules.MOVED))
def test_old_names_of_modules_lead_to_the_new_ones(old):
    new = importlib.import_module(moved_modules.MOVED[old])
    name = new.__spec__.name
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import {name} instead"):
        assert importlib.import_module(old) is new
    assert new.__spec__.name == name


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'compil'"):
        byoc.compil  # noqa: B018


def test_every_error_is_a_byoc_error():
    from byoc import errors

    for name in errors.__all__:
        value = getattr(errors, name)
        if inspect.isclass(value) and not issubclass(value, Warning):
            assert issubclass(value, byoc.ByocError)
            assert name in byoc.__all__


def test_the_package_is_typed():
    assert (Path(byoc.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", ["__call__", "run", "report", "save", "inputs", "outputs"])
def test_an_executable_offers(name):
    assert inspect.getdoc(getattr(byoc.Executable, name))


@pytest.mark.parametrize("name", ["segments", "coverage", "table", "to_json", "to_html"])
def test_a_report_offers(name):
    from dataclasses import fields

    offered = {f.name for f in fields(byoc.PartitionReport)} | set(dir(byoc.PartitionReport))
    assert name in offered
