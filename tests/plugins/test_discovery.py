"""Vendors are found by entry point; what is asked for and not usable is an error."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import byoc.plugins.discovery as discovery
from byoc.errors import VendorError
from byoc.segment import Artifact
from byoc.vendor import NativeRuntime, PythonRuntime, Vendor

GOOD = Vendor(
    name="good",
    version="2.0",
    patterns=lambda: (),
    compile=lambda segment, options: Artifact(segment.name, "good", b""),
    runtime=PythonRuntime(lambda blob, constants, options: lambda inputs, outputs: None),
)
LOST = replace(GOOD, name="lost", status=lambda: "liblost.so.3 is not installed")
NOT_A_VENDOR = {"name": "odd"}


def _raise() -> None:
    raise RuntimeError("probe failed")


UNBUILT = replace(GOOD, name="unbuilt", runtime=NativeRuntime("byoc_unbuilt"))
BROKEN_STATUS = replace(GOOD, name="shaky", status=_raise)


@pytest.fixture
def installed(monkeypatch):
    """Installed entry points: good, lost, odd, gone (no such module), shaky."""
    here = __name__
    table = {
        "good": f"{here}:GOOD",
        "lost": f"{here}:LOST",
        "odd": f"{here}:NOT_A_VENDOR",
        "gone": "no_such_package_of_byoc:VENDOR",
        "shaky": f"{here}:BROKEN_STATUS",
        "unbuilt": f"{here}:UNBUILT",
        "alias": f"{here}:GOOD",
    }
    entries = [EntryPoint(name, value, discovery.GROUP) for name, value in table.items()]
    monkeypatch.setattr(discovery, "entry_points", lambda group: entries)


def test_every_vendor_is_listed_with_the_reason_it_is_unusable(installed):
    found = {info.name: info for info in discovery.vendors()}
    assert found["good"].available, found["good"].reason
    assert found["good"].version == "2.0"
    assert found["lost"].reason == "liblost.so.3 is not installed"
    assert "is a dict, expected a byoc.Vendor" in found["odd"].reason
    assert "cannot be imported" in found["gone"].reason
    assert "probe failed" in found["shaky"].reason
    assert "libbyoc_unbuilt.so of package 'tvm-byoc' is missing" in found["unbuilt"].reason
    assert "the two names must agree" in found["alias"].reason


@pytest.mark.parametrize("answer", [True, False, "", 3])
def test_a_status_that_is_no_sentence(installed, monkeypatch, answer):
    monkeypatch.setattr(f"{__name__}.LOST", replace(GOOD, name="lost", status=lambda: answer))
    message = f"status.. must return None when .* found {answer!r}"
    with pytest.raises(VendorError, match=message):
        discovery.resolve(["lost"])


def test_the_package_of_a_native_vendor_that_its_author_forgot(monkeypatch):
    class Published(EntryPoint):
        dist = SimpleNamespace(
            name="byoc-unbuilt",
            version="1.0",
            metadata={"Name": "byoc-unbuilt", "Version": "1.0"},
        )

    entry = Published("unbuilt", f"{__name__}:UNBUILT", discovery.GROUP)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [entry])
    message = r"write NativeRuntime\('byoc_unbuilt', package='byoc-unbuilt'\)"
    (info,) = discovery.vendors()
    assert re.search(message, info.reason)
    with pytest.raises(VendorError, match=message):
        discovery.resolve(["unbuilt"])


def _no_choice(options, patterns):
    raise KeyError("level")


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (_no_choice, "choose.. of 'good' raised KeyError: 'level'"),
        (lambda options, patterns: ["dense"], "must return some of the patterns that it was given"),
    ],
)
def test_a_choice_of_patterns_that_is_none(choose, message):
    with pytest.raises(VendorError, match=message):
        discovery.resolve([replace(GOOD, choose=choose)])


def test_an_unknown_vendor_lists_the_legal_ones(installed):
    with pytest.raises(VendorError, match="unknown vendor 'goood'.*did you mean 'good'.*lost"):
        discovery.resolve(["goood"])


def test_a_requested_vendor_that_is_missing_is_an_error(installed):
    with pytest.raises(VendorError, match="'lost' was requested but.*liblost.so.3"):
        discovery.resolve(["lost"])


def test_one_vendor_can_be_blocked(installed, monkeypatch):
    monkeypatch.setenv("BYOC_BLOCK_VENDORS", "good, other")
    assert "blocked" in {i.name: i.reason for i in discovery.vendors()}["good"]
    with pytest.raises(VendorError, match="blocked by BYOC_BLOCK_VENDORS"):
        discovery.resolve(["good"])


def test_two_packages_with_one_name_are_an_error(monkeypatch):
    entries = [EntryPoint("good", value, discovery.GROUP) for value in ("a:V", "b:V")]
    monkeypatch.setattr(discovery, "entry_points", lambda group: entries)
    with pytest.raises(VendorError, match="offered twice"):
        discovery.find("good")


def test_requests_are_checked(installed):
    with pytest.raises(VendorError, match="requested twice"):
        discovery.resolve(["good", GOOD])
    with pytest.raises(VendorError, match=r"write vendors=\['good'\]"):
        discovery.resolve("good")
    with pytest.raises(VendorError, match="found int"):
        discovery.resolve([3])
    assert discovery.resolve([]) == ()


def test_the_installed_vendors_are_found():
    assert "dnnl" in {info.name for info in discovery.vendors()}


def test_vendors_call_themselves_the_default():
    assert discovery.default_vendors() == ("dnnl",)


def test_a_blocked_vendor_is_no_default(monkeypatch):
    monkeypatch.setenv(discovery.BLOCK_VARIABLE, "dnnl")
    assert discovery.default_vendors() == ()


def test_how_to_install_a_vendor():
    assert discovery.install_hint("onnxruntime") == "pip install 'tvm-byoc[onnxruntime]'"
    assert discovery.install_hint("dnnl") == "pip install tvm-byoc"
