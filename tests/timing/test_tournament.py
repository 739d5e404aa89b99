"""Races of made-up contenders, whose times are told, not taken."""

import time

from byoc.timing.tournament import Contender, race, winner


def told(name, rounds, segments=1):
    return Contender(name, lambda inputs: None, segments, list(rounds), list(rounds))


def test_the_fastest_wins():
    one = told("one", [1.0, 1.01, 1.0, 0.99, 1.0], segments=9)
    assert winner([told("other", [1.1, 1.12, 1.1, 1.09, 1.1]), one]) is one


def test_a_tie_goes_to_the_fewest_segments():
    plain = told("plain", [1.004, 1.02, 0.99, 1.0, 1.01], segments=1)
    best = told("best", [1.0, 1.0, 1.0, 1.001, 0.999], segments=5)
    assert winner([best, plain]) is plain


def test_a_drifting_clock_does_not_hide_a_difference():
    """Each round is slower than the last, and the second plan slower than the first in each."""
    clock = [1.0, 1.4, 1.9, 2.6, 3.5, 4.1]
    quick = told("quick", clock, segments=7)
    slow = told("slow", [1.03 * t for t in clock], segments=1)
    assert winner([quick, slow]) is quick


def test_who_is_far_behind_drops_out_and_who_is_kept_does_not():
    def sleeps(seconds):
        return lambda inputs: time.sleep(seconds)

    contenders = [
        Contender("quick", sleeps(0.002), 1),
        Contender("late", sleeps(0.02), 1),
        Contender("late but kept", sleeps(0.02), 1),
    ]
    race(contenders, {}, seconds=0.0, keep=(2,))
    quick, late, kept = (len(one.rounds) for one in contenders)
    assert late == 3
    assert quick == kept == 5
    assert winner(contenders) is contenders[0]
