"""Whether a vendor keeps the contract is said in words for its author, before anything runs."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from byoc.contract_checks import check_artifact, check_patterns, check_vendor, takes_context
from byoc.errors import CompileError, VendorError
from byoc.segment import Artifact, Segment
from byoc.vendor import (
    RESERVED_NAMES,
    LibraryRuntime,
    NativeRuntime,
    Pattern,
    PythonRuntime,
    Reject,
    Vendor,
)

GOOD = Vendor(
    name="acme",
    version="1.0",
    patterns=lambda: (),
    compile=lambda segment, options: Artifact(segment.name, "acme", b""),
    runtime=NativeRuntime("byoc_acme", package="byoc-acme"),
)


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED_NAMES), "class", "ácme", "Acme", "a-b", "_a", ""]
)
def test_names_that_mean_something_else(name):
    with pytest.raises(VendorError, match="vendor author: .*name"):
        check_vendor(dataclasses.replace(GOOD, name=name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": None}, ["version must be a string", "found None"]),
        ({"version": 1.0}, ["version must be a string", "found 1.0"]),
        ({"processor": ""}, ["processor must be the name of a queue", "found ''"]),
        ({"processor": None}, ["processor must be the name of a queue", "found None"]),
        ({"processor": 3}, ["found 3"]),
        (
            {"runtime": NativeRuntime("/tmp/libbyoc_acme.so")},
            ["base name", "NativeRuntime('byoc_acme', package=...)", "BYOC_LIBRARY_PATH"],
        ),
        ({"runtime": NativeRuntime("acme", package="")}, ["package", "libacme.so", "found ''"]),
        (
            {"runtime": PythonRuntime(3)},
            ["init of its PythonRuntime", "(blob, constants, options)"],
        ),
        ({"runtime": PythonRuntime(lambda blob: None)}, ["(blob, constants, options)"]),
        (
            {"runtime": PythonRuntime(lambda blob, constants, *, context, more: None)},
            ["(blob, constants, options), and context if it likes"],
        ),
        (
            {"runtime": PythonRuntime(lambda *args: None, can_load=lambda blob: None)},
            ["can_load of its PythonRuntime must take 2 positional"],
        ),
        ({"runtime": PythonRuntime(lambda *args: None, equipment=7)}, ["equipment", "found 7"]),
        ({"runtime": LibraryRuntime("not a name")}, ["LibraryRuntime.symbol", "'not a name'"]),
    ],
)
def test_fields_of_a_wrong_kind(changes, words):
    with pytest.raises(VendorError) as error:
        check_vendor(dataclasses.replace(GOOD, **changes))
    for word in ["vendor author", *words]:
        assert word in str(error.value)


def test_who_asks_for_a_context():
    def asks(blob, constants, options, *, context):
        pass

    def asks_too(blob, constants, options, context=None):
        pass

    def takes_anything(*args, **context):
        pass

    assert [takes_context(f) for f in (asks, asks_too, takes_anything)] == [True, True, False]
    for init in (asks, asks_too, takes_anything):
        check_vendor(dataclasses.replace(GOOD, runtime=PythonRuntime(init)))
    check_vendor(dataclasses.replace(GOOD, runtime=LibraryRuntime()))


def test_processors_with_a_number():
    assert check_vendor(dataclasses.replace(GOOD, processor="npu:0")).processor == "npu:0"


def _missing_sdk():
    raise ModuleNotFoundError("No module named 'acme_sdk'")


def _unknown_op():
    from tvm.relax.dpl import is_op

    return [Pattern("conv", is_op("nn.conv2d"))]


def _misspelt_op():
    from tvm.relax.dpl import is_op

    return [Pattern("conv", is_op("relax.nn.softmaxx"))]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (_missing_sdk, "patterns() raised ModuleNotFoundError: No module named 'acme_sdk'"),
        (_unknown_op, "nn.conv2d is not registered.*did you mean 'relax.nn.conv2d'"),
        (_misspelt_op, "did you mean 'relax.nn.softmax'"),
        (lambda: Pattern("a", None), "one Pattern ('a'); return [pattern]"),
        (lambda: None, "patterns() raised TypeError"),
        (lambda: [Pattern(3, None)], "name of a pattern must be a string, found 3"),
        (lambda: [Pattern("a", None, ["x"])], "parts of pattern 'a' must map names"),
        (lambda: [Pattern("a", None, priority="high")], "priority of pattern 'a' .*'high'"),
    ],
)
def test_patterns_that_cannot_be_read(patterns, message):
    with pytest.raises(VendorError) as error:
        check_patterns(dataclasses.replace(GOOD, patterns=patterns))
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), str(error.value), re.S)
    assert "vendor author: 'acme'" in str(error.value)


@pytest.mark.parametrize("reason", [None, "", "  ", 3])
def test_a_refusal_has_a_reason(reason):
    with pytest.raises(VendorError, match=r"Reject takes one sentence.*return None, not Reject"):
        Reject(reason)


SEGMENT = Segment("acme_0", "acme", (), (), (), (), (), {})


def _artifact(**changes):
    return dataclasses.replace(Artifact("acme_0", "acme", b"x"), **changes)


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        (None, "must return the byoc.Artifact of segment 'acme_0', found None"),
        (_artifact(segment="other"), "of segment 'acme_0'"),
        (_artifact(vendor="other"), "Artifact.vendor must be segment.vendor, 'acme'"),
        (_artifact(blob="text"), r"Artifact.blob must be bytes, found str; .*encode"),
        (_artifact(constants={0: np.ones(2)}), "must be a tuple of numpy arrays, found dict"),
        (_artifact(constants=([1, 2],)), r"constants\[0\] must be a numpy array .*found list"),
        (_artifact(constants=(np.array(["a"]),)), r"constants\[0\].*found ndarray of <U1"),
        (_artifact(constants=(np.array([None]),)), "found ndarray of object"),
        (_artifact(notes="text"), r"notes must be a tuple of strings, found 'text'"),
        (_artifact(notes=(53,)), "notes must be a tuple of strings"),
    ],
)
def test_artifacts_that_could_not_be_kept(artifact, message):
    with pytest.raises(CompileError, match="vendor author: compile.. of 'acme'.*" + message):
        check_artifact(artifact, SEGMENT)


def test_a_good_artifact_becomes_plain_values():
    import ml_dtypes

    given = _artifact(
        blob=bytearray(b"ab"), constants=[np.ones(2, ml_dtypes.bfloat16)], notes=["fast"]
    )
    kept = check_artifact(given, SEGMENT)
    assert (kept.blob, kept.notes, type(kept.constants)) == (b"ab", ("fast",), tuple)
