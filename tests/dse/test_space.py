"""Spaces in YAML: what they mean, and what is said of bad ones."""

from __future__ import annotations

import pytest
from toy_design import ToyDesign

from byoc.dse.limits import parse_limits
from byoc.dse.space import parse_space, read_space
from byoc.errors import OptionError

KNOBS = ToyDesign.knobs


def test_values_follow_one_another():
    space = parse_space(
        {
            "parameters": {
                "c.width": "b.width / 2",
                "b.width": ["a.width", "a.width * 2"],
                "a.width": [4, 8],
                "a.kind": ["fast", "slow"],
                "memory.size": ["1KiB"],
            },
            "where": "b.width < 16",
        },
        KNOBS,
    )
    assert space.size == 8
    found = [space.values(point) for point in space.points(100)]
    assert sum(values is None for values in found) == 2  # 8 * 2 is not below 16
    for values in filter(None, found):
        assert values["b.width"] in (values["a.width"], 2 * values["a.width"])
        assert values["c.width"] * 2 == values["b.width"]
        assert values["memory.size"] == 1024
    assert [space.axes[n].name for n in space.axes_of("c.width")] == ["b.width"]


def test_a_space_that_is_too_large_is_sampled_and_no_point_comes_twice():
    space = parse_space({"parameters": {k: list(range(1, 30)) for k in KNOBS if k != "a.kind"}},
                        KNOBS)  # fmt: skip
    points = list(space.points(500, seed=1))
    assert 400 < len(points) == len(set(points)) <= 500
    assert points == list(space.points(500, seed=1)) != list(space.points(500, seed=2))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "expected a mapping"),
        ({"parameter": {}}, "unknown key 'parameter': did you mean 'parameters'"),
        ({}, "'parameters' is empty"),
        ({"parameters": {"a.widht": [1]}}, "unknown parameter 'a.widht': did you mean 'a.width'"),
        ({"parameters": {"a.width": []}}, "a.width: the list of values is empty"),
        ({"parameters": {"a.width": [4]}}, "nothing to choose"),
        ({"parameters": {"a.width": [4, 4]}}, "a value stands in the list twice"),
        ({"parameters": {"a.width": [4, 2.5]}}, "a.width: expected a whole number"),
        ({"parameters": {"a.width": [4, "8Q"]}}, "a.width: unknown unit 'Q'"),
        ({"parameters": {"a.width": [4, "no.such"]}}, "unknown parameter 'no.such'"),
        ({"parameters": {"a.kind": ["fast", "quick"]}}, "a.kind: 'quick' is not legal"),
        ({"parameters": {"a.width": ["b.width", 1], "b.width": "c.width", "c.width": "a.width"}},
         "circle: b.width → c.width → a.width → b.width"),
        ({"parameters": {"a.width": ["a.width + 1", 2]}}, "circle: a.width → a.width"),
        ({"parameters": {"a.width": [1, 2]}, "where": {"a": 1}}, "'where' must be a list"),
        ({"parameters": {"a.width": [1, 2]}, "where": ["a.width <"]}, "no expression"),
        ({"parameters": {"a.width": [1, 2]}, "weights": {"m": -1}}, "'weights' must map"),
    ],
)  # fmt: skip
def test_a_bad_space_is_told_in_a_sentence(content, why):
    with pytest.raises(OptionError, match=why) as error:
        parse_space(content, KNOBS)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_yaml_is_told(tmp_path):
    (tmp_path / "s.yaml").write_text("a: [")
    for path in (tmp_path / "s.yaml", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(OptionError, match="cannot read the space"):
            read_space(path, KNOBS)


def test_limits_are_read_or_refused():
    assert parse_limits("cells=2k, ram = 4KiB", ("cells", "ram")) == {"cells": 2000, "ram": 4096}
    assert parse_limits("", ("cells",)) == {}
    for text, why in (("lut=4", "unknown resource 'lut': legal: cells, ram"),
                      ("cells=4x", "unknown unit 'x'"), ("cells", "no number"),
                      ("cells=4,cells=5", "cells is 4 and 5")):  # fmt: skip
        with pytest.raises(OptionError, match=why):
            parse_limits(text, ("cells", "ram"))
