"""The vendor contract is checked when a vendor is registered, in words for its author."""

from __future__ import annotations

import dataclasses

import pydantic
import pytest

from byoc.contract_checks import check_patterns, check_vendor
from byoc.errors import OptionError, VendorError
from byoc.segment import Artifact
from byoc.vendor import (
    API_VERSION,
    NativeRuntime,
    Pattern,
    PythonRuntime,
    Vendor,
)


def _compile(segment, options):
    return Artifact(segment.name, "acme", b"")


def _vendor(**changes) -> Vendor:
    base = Vendor(
        name="acme",
        version="1.0",
        patterns=lambda: (),
        compile=_compile,
        runtime=NativeRuntime("byoc_acme"),
    )
    return dataclasses.replace(base, **changes)


class _Loose(pydantic.BaseModel):
    level: int = 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"api_version": 99}, ["'acme'", "vendor API 99", f"this byoc has {API_VERSION}"]),
        ({"name": "Ac me"}, ["lower-case identifier", "'Ac me'"]),
        ({"patterns": ()}, ["hook 'patterns'", "callable", "tuple"]),
        ({"patterns": lambda extra: ()}, ["hook 'patterns'", "0 positional", "(extra)"]),
        ({"compile": lambda segment: None}, ["hook 'compile'", "2 positional", "(segment)"]),
        ({"compile": None}, ["hook 'compile'", "NoneType"]),
        ({"design": "big"}, ["hook 'design'", "callable", "str"]),
        ({"design": lambda models: None}, ["hook 'design'", "2 positional", "(models)"]),
        ({"status": "fine"}, ["hook 'status'", "str"]),
        ({"runtime": "byoc_acme"}, ["PythonRuntime, LibraryRuntime or HostRuntime", "found str"]),
        ({"options": dict}, ["options", "pydantic.BaseModel"]),
        ({"options": _Loose}, ["options", "extra='forbid'"]),
    ],
)
def test_a_broken_vendor_is_refused_in_words_for_its_author(changes, words):
    with pytest.raises(VendorError) as error:
        check_vendor(_vendor(**changes), "entry point acme:VENDOR")
    for word in ["vendor author", "entry point acme:VENDOR", *words]:
        assert word in str(error.value)


def test_a_good_vendor_comes_back_itself():
    vendor = _vendor()
    assert check_vendor(vendor) is vendor


def test_a_value_of_another_type_is_refused():
    with pytest.raises(VendorError, match="is a dict, expected a byoc.Vendor"):
        check_vendor({}, "entry point x:y")


def test_an_unknown_hook_is_refused_with_its_name():
    with pytest.raises(TypeError, match="patern"):
        Vendor(name="acme", version="1", patern=None)


def test_vendors_and_patterns_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _vendor().name = "other"


def test_patterns_are_ordered_by_priority_then_by_list():
    patterns = [Pattern("a", None), Pattern("b", None, priority=2), Pattern("c", None)]
    names = [p.name for p in check_patterns(_vendor(patterns=lambda: patterns))]
    assert names == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ([Pattern("a", None), Pattern("a", None)], "two patterns are named 'a'"),
        ([("a", None)], "found tuple"),
        ([Pattern("a", None, check=lambda: None)], "check of pattern 'a' must take one match"),
    ],
)
def test_broken_patterns_are_refused(patterns, words):
    with pytest.raises(VendorError, match=words):
        check_patterns(_vendor(patterns=lambda: patterns))


class _Options(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    level: int = 0


def test_options_are_validated_and_the_legal_ones_listed():
    from byoc.plugins.discovery import resolve

    vendor = _vendor(options=_Options, runtime=PythonRuntime(lambda blob, constants, options: None))
    (request,) = resolve({vendor: {"level": 3}})
    assert request.options.level == 3
    with pytest.raises(OptionError, match="unknown option 'levle': did you mean 'level'"):
        resolve({vendor: {"levle": 3}})
    with pytest.raises(OptionError, match="level = 'high': .*integer"):
        resolve({vendor: {"level": "high"}})
