"""The search on machines whose cycles are known: it finds the best, in few evaluations."""

from __future__ import annotations

import random

import pytest
from toy_design import ToyDesign

from byoc.dse import explore, page, pareto_front, parse_space, table, to_dict
from byoc.dse.ladder import Ladder
from byoc.errors import CompileError, OptionError

SPACE = {
    "parameters": {
        "a.width": [1, 2, 4, 8, 16],
        "b.width": [1, 2, 4, 8, 16],
        "c.width": [1, 2, 4, 8, 16],
        "memory.size": [64, 256, 1024, 4096],
        "a.kind": ["slow", "fast"],
    }
}


def design(seed: int, error: float = 0.0) -> ToyDesign:
    rng = random.Random(seed)
    return ToyDesign(
        {f"m{n}": tuple(10 ** rng.uniform(3, 5) for _ in range(3)) for n in range(2)}, error
    )


def best(toy: ToyDesign, limits: dict[str, int]) -> tuple[float, int]:
    """The lowest score of all machines, and how many there are."""
    space = parse_space(SPACE, toy.knobs)
    ladder = Ladder(toy, space, limits)
    legal = [p for p in space.points(10**6) if ladder.legal(p)]
    return min(ladder.score(p, "cycles") for p in legal), len(legal)


@pytest.mark.parametrize("seed", range(20))
def test_the_optimum_is_found_in_a_twentieth_of_the_evaluations(seed):
    limits = {"cells": 48, "ram": 4096}
    optimum, legal = best(design(seed), limits)
    toy = design(seed, error=0.1)  # whose cheap level is wrong
    found = explore(toy, parse_space(SPACE, toy.knobs), limits, evaluations=legal // 20)
    assert found.best.score <= 1.05 * optimum
    assert found.counts["cycles"] <= found.counts["compiled"] <= legal // 20 + 1  # and the default
    assert all(found.best.area[name] <= limit for name, limit in limits.items())


def test_the_way_leads_from_a_start_to_the_best_by_what_was_waited_for():
    toy = design(3, error=0.6)
    found = explore(toy, parse_space(SPACE, toy.knobs), {"cells": 60, "ram": 4096})
    assert found.stopped == "16 machines in a row were no better"
    first, *rest = found.steps
    assert not first.unit and found.steps[-1].scored is found.best
    assert rest
    for before, step in zip(found.steps, rest, strict=False):
        assert step.unit in "abc" and step.share > 0
        assert step.parent == before.scored.point
        knob, old, new = step.changed[0]
        assert (before.scored.values[knob], step.scored.values[knob]) == (old, new)


def test_without_limits_the_default_machine_is_the_limit():
    toy = design(1)
    found = explore(toy, parse_space(SPACE, toy.knobs), {})
    assert found.limits == toy.area({}) and found.best.score <= 1


def test_a_search_is_repeatable():
    runs = []
    for _ in range(2):
        toy = design(4)
        explore(toy, parse_space(SPACE, toy.knobs), {"cells": 48, "ram": 4096})
        runs.append(toy.asked)
    assert runs[0] == runs[1]
    asked = [kind for kind in runs[0] if kind[1] != tuple(k.default for k in toy.knobs.values())]
    assert len(set(asked)) == len(asked)  # and nothing is asked twice


def test_machines_that_a_model_does_not_fit_are_left_out():
    toy = design(5)
    with pytest.raises(OptionError, match="no machine was found that runs the models"):
        explore(toy, parse_space({"parameters": {"memory.size": [32, 64]}}, toy.knobs), {})
    with pytest.raises(CompileError):
        toy.evaluate({**{k: v.default for k, v in toy.knobs.items()}, "memory.size": 64}, "cycles")


@pytest.mark.parametrize(
    ("limits", "where", "why"),
    [
        ({"cells": 5}, [], "cells=5 is less than any machine of the space takes: the smallest"),
        ({"cells": 6, "ram": 64}, ["a.width * memory.size >= 1024"], "keeps cells=6, ram=64"),
        ({}, ["a.width > 16"], "'where' forbids every combination"),
    ],
)  # fmt: skip
def test_limits_that_nothing_keeps_are_told(limits, where, why):
    toy = design(6)
    with pytest.raises(OptionError, match=why):
        explore(toy, parse_space({**SPACE, "where": where}, toy.knobs), limits)


def test_a_weight_for_no_model_is_told():
    toy = design(6)
    with pytest.raises(OptionError, match="no model 'mo': legal: m0, m1"):
        explore(toy, parse_space({**SPACE, "weights": {"mo": 1}}, toy.knobs), {})


def test_weights_decide_between_models():
    toy = ToyDesign({"a": (10**5, 10, 10), "c": (10, 10, 10**5)})
    one = explore(toy, parse_space({**SPACE, "weights": {"a": 100}}, toy.knobs), {"cells": 36})
    two = explore(toy, parse_space({**SPACE, "weights": {"c": 100}}, toy.knobs), {"cells": 36})
    assert one.best.evaluation.cycles["a"] < two.best.evaluation.cycles["a"]
    assert one.best.evaluation.cycles["c"] > two.best.evaluation.cycles["c"]


def test_ctrl_c_leaves_the_best_so_far():
    class Interrupted(ToyDesign):
        def evaluate(self, values, level):
            if level == "cycles" and len([1 for kind, _ in self.asked if kind == level]) == 3:
                raise KeyboardInterrupt
            return super().evaluate(values, level)

    toy = Interrupted(design(3).work, 0.6)
    found = explore(toy, parse_space(SPACE, toy.knobs), {"cells": 60, "ram": 4096})
    assert found.stopped == "interrupted" and found.steps[-1].scored is found.best
    assert len(found.scored) == 2


def test_a_budget_ends_the_search():
    toy = design(3, error=0.6)
    found = explore(toy, parse_space(SPACE, toy.knobs), {"cells": 60, "ram": 4096}, evaluations=2)
    assert found.stopped == "2 machines were compiled"
    toy = design(3)
    with pytest.raises(OptionError, match="the budget is used up"):
        explore(toy, parse_space(SPACE, toy.knobs), {"cells": 60}, seconds=0)


def test_the_front_and_the_pages():
    toy = design(7, error=0.5)
    found = explore(toy, parse_space(SPACE, toy.knobs), {"cells": 60, "ram": 4096})
    front = pareto_front(found.scored, found.limits)
    assert front[0].score == found.best.score
    for one in found.scored:  # nothing beats the front
        assert any(f.score <= one.score and all(
            f.area[n] / found.limits[n] <= max(a / found.limits[k] for k, a in one.area.items())
            for n in found.limits) for f in front)  # fmt: skip
    text = table(found)
    assert text.splitlines()[1].endswith("default") and "cycles m0" in text
    html = page(found)
    assert html.startswith("<!doctype html>") and "http" not in html
    assert html.count("<circle") == len(found.scored) + len(front) + 2
    assert to_dict(found)["best"]["values"] == dict(found.best.values)
