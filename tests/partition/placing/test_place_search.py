"""The search against trying everything; costs are given numbers."""

import random

import pytest
from random_problems import (
    best_of_all,
    chain_module,
    random_context,
    random_module,
    the_problem,
    tree_module,
)

from byoc.partition.placing.dp_search import search
from byoc.partition.placing.local_search import best_choice

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = ("narrow", "wide", "chain", "tree")
DEFAULT = range(32)
FULL = pytest.param(range(32, 1032), marks=pytest.mark.slow, id="1000")


def make_problem(seed, parallel):
    rng = random.Random(seed)
    kind, count = KINDS[seed % 4], rng.randint(5, 14)
    mod = {
        "narrow": lambda: random_module(rng, count),
        "wide": lambda: random_module(rng, count, wide=True),
        "chain": lambda: chain_module(rng, count),
        "tree": lambda: tree_module(rng, count),
    }[kind]()
    offers = rng.randint(4, 10 if parallel else 12)
    return kind, the_problem(random_context(rng, mod, offers, parallel, fused=seed % 3 == 0))


@pytest.mark.parametrize("seeds", [DEFAULT, FULL], ids=["32", None])
def test_the_search_is_optimal_where_it_says_so(seeds):
    exact, worst = 0, 0.0
    for seed in seeds:
        kind, problem = make_problem(seed, parallel=False)
        found, best = best_choice(problem), best_of_all(problem)
        gap = found.evaluated.seconds / best - 1 if best else 0.0
        if found.bound is not None:
            assert found.bound <= best * (1 + 1e-9), f"seed {seed}: no lower bound"
        if found.exact:
            exact += 1
            assert gap <= 1e-9, f"seed {seed}: claims to be optimal, is {gap:.2%} off"
        if kind in ("chain", "tree"):
            assert found.exact, f"seed {seed}: a {kind} is not proved"
        worst = max(worst, gap)
    print(f"\n{len(seeds)} problems: {exact} proved optimal, worst gap {worst:.3%}")
    assert worst <= 0.03
    assert exact >= 0.9 * len(seeds)


@pytest.mark.parametrize("seeds", [DEFAULT, FULL], ids=["32", None])
def test_the_makespan_on_parallel_processors_is_near_the_best(seeds):
    worst = 0.0
    for seed in seeds:
        _, problem = make_problem(seed, parallel=True)
        assert problem.parallel
        found, best = best_choice(problem), best_of_all(problem)
        assert found.bound is None
        assert not found.exact
        worst = max(worst, found.evaluated.seconds / best - 1 if best else 0.0)
    print(f"\n{len(seeds)} parallel problems: worst gap {worst:.3%}")
    assert worst <= 0.03


def test_the_bound_is_about_what_grouping_makes():
    """What the search finds first is what grouping makes of it, no launch more or less."""
    equal = 0
    for seed in range(40):
        _, problem = make_problem(seed, parallel=False)
        found = search(problem)
        again = problem.evaluate(found.chosen)
        assert again == found.evaluated
        equal += found.exact
    assert equal >= 36


def test_the_same_search_finds_the_same():
    for seed in range(8):
        first = best_choice(make_problem(seed, parallel=bool(seed % 2))[1])
        second = best_choice(make_problem(seed, parallel=bool(seed % 2))[1])
        assert first == second
