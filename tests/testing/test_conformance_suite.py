"""`byoc conformance`: a good vendor passes, and no mistake gets through."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import seeded_defects
from seeded_defects import DEFECTS, VENDOR

from byoc.testing.conformance import conformance
from byoc.testing.conformance.boundaries import boundary_layers
from byoc.testing.conformance.layers import as_claim, standing_layers
from byoc.testing.conformance.suite import ConformanceSuite

FAST = (
    "transposed weights where they are square",
    "half is written",
    "ReLU drops NaN",
    "runtimes are kept by their blob",
    "any sum is taken for a bias",
)


@pytest.fixture(scope="module")
def plan():
    """What there is to try of the good vendor, and of copies that take the same."""
    return ConformanceSuite(VENDOR).plan()


@pytest.fixture(autouse=True)
def proved(monkeypatch):
    monkeypatch.setenv("BYOC_CHECK", "1")


def first_wrong(vendor, plan):
    """The first outcome that is not right; None where all are."""
    suite = ConformanceSuite(vendor)
    if vendor.patterns is not VENDOR.patterns:
        plan = suite.plan()
    for task in plan.tasks:
        for outcome in suite.run(task):
            if outcome.verdict not in ("right", "skipped") and outcome.level != "gold":
                return outcome
    return None


def found(name, plan):
    try:
        return first_wrong(DEFECTS[name], plan)
    except Exception as error:  # the vendor cannot even be asked
        return error


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FAST)
def test_a_mistake_is_found(name, plan):
    assert found(name, plan) is not None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in DEFECTS if name not in FAST])
def test_every_mistake_is_found(name, plan):
    assert found(name, plan) is not None


def test_there_are_sixty_mistakes():
    assert len(DEFECTS) >= 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_good_vendor_lacks_nothing_but_being_installed():
    report = conformance(VENDOR, most_traps=1)
    assert report.level == "bronze", report.table()
    lacks = [text for level in report.missing.values() for text in level]
    assert all("not installed" in text for text in lacks), report.table()
    assert not report.plan.untested
    assert report.plan.outside > 2
    value = json.loads(report.to_json())
    assert value["level"] == "bronze"
    suite = ElementTree.fromstring(report.to_junit())
    assert int(suite.get("tests")) == len(report.outcomes) == len(suite.findall("testcase"))


@pytest.mark.slow
def test_crashes_and_hangs_take_nothing_else_down(monkeypatch):
    monkeypatch.syspath_prepend(Path(seeded_defects.__file__).parent)
    crash = conformance("seeded_defects:CRASHES", only="matmul layer float32 square", timeout=120)
    assert {o.verdict for o in crash.outcomes if o.group == "claim"} == {"crash"}
    assert "signal 6" in crash.missing["bronze"][0]


def test_names_of_layers_are_unique():
    names = [as_claim(layer).name for layer in standing_layers()]
    names += [as_claim(x).name for c in VENDOR.patterns.capabilities for x in boundary_layers(c)]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]


def test_the_ends_of_a_capability_are_tried_on_both_sides():
    from byoc.kit.capability import Capability, Operand, Range

    capability = Capability(
        op="nn.conv2d",
        inputs=(
            Operand(dims={1: Range(max=16, multiple=4)}),
            Operand(constant=True, dims={0: Range(min=2, max=8)}),
        ),
        attrs={"strides": [1, 2], "groups": Range(min=1, max=4)},
        tail="bias? nn.relu?",
    )
    layers = list(boundary_layers(capability))
    inside = {layer.label: layer for layer in layers if not layer.outside}
    outside = {layer.label: layer.outside for layer in layers if layer.outside}
    assert {"claimed input 1 axis 0 of 2", "claimed input 1 axis 0 of 8"} <= set(inside)
    assert outside["claimed input 1 axis 0 of 9"] == "axis 0 of input 1: at most 8"
    assert outside["claimed strides 3"] == "strides is not 3"
    assert outside["claimed dilation 2"]
    assert inside["claimed strides 2"].weight.shape[1] % 4 == 0
    assert outside["claimed input 0 axis 1 of 5"].endswith("multiples of 4")


def test_options_are_given_other_values():
    from byoc.testing.conformance.options import other_values

    assert dict(other_values(VENDOR.options)) == {"exact": True}
    assert not list(other_values(dataclasses.replace(VENDOR).options.__base__))


def test_options_of_a_vendor_that_asks_for_its_context_are_watched():
    from byoc.testing.conformance.options import wrong_options
    from byoc.testing.conformance.traps import traps

    seen = []

    def init(blob, constants, options, *, context):
        seen.append((context.processor, options["exact"]))
        return VENDOR.runtime.init(blob, constants, options)

    runtime = dataclasses.replace(VENDOR.runtime, init=init, devices=lambda: 2)
    vendor = dataclasses.replace(VENDOR, runtime=runtime, processor="watched")
    trap = next(traps(next(iter(standing_layers()))))
    assert wrong_options(vendor, {}, trap) == []
    assert {*seen} == {(f"watched:{n}", exact) for n in (0, 1) for exact in (False, True)}
