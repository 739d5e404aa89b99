"""Turns, blocks and rounds: who is called when, and what counts."""

import time
from functools import partial
from itertools import islice

import pytest

from byoc.timing.interleaved import interleaved, timed_block


def logged(log, count):
    return [partial(log.append, k) for k in range(count)]


def test_a_block_counts_what_follows_the_warm_up():
    log = []
    assert len(timed_block(*logged(log, 1), 5, warm=2)) == 5
    assert len(log) == 7


def test_seconds_are_those_of_the_call_without_the_pause():
    begin = time.perf_counter()
    times = timed_block(lambda: time.sleep(0.01), 3, pause=0.05)
    assert time.perf_counter() - begin >= 0.05 + 4 * 0.01
    assert all(0.01 <= t < 0.05 for t in times)


def test_rounds():
    log = []
    rounds = list(islice(interleaved(logged(log, 2), [1, 3]), 2))
    assert [{k: len(times) for k, times in found.items()} for found in rounds] == [{0: 1, 1: 3}] * 2
    assert log == [0, 0, 1, 1, 1, 1] * 2


def test_everybody_goes_first_in_turn():
    found = islice(interleaved(logged([], 3), [1] * 3, rotate=True), 4)
    assert [list(one) for one in found] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_who_drops_out_is_not_called_again():
    log, running = [], [0, 1, 2]
    rounds = interleaved(logged(log, 3), [1] * 3, warm=0, running=running)
    assert set(next(rounds)) == {0, 1, 2}
    running.remove(1)
    assert set(next(rounds)) == {0, 2}
    running.clear()
    with pytest.raises(StopIteration):
        next(rounds)
    assert log == [0, 1, 2, 0, 2]
    assert list(interleaved([], [])) == []
