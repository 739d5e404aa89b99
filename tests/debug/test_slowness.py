"""What an op may take, and when that is too much."""

import numpy as np

from byoc.debug.slowness import FLOOR, expected_seconds, is_slow


def test_a_vendor_that_is_slow_throughout_has_no_slow_op():
    rng = np.random.default_rng(0)
    for _ in range(200):
        host = rng.uniform(1e-6, 1e-2, 12)
        seconds = 2e-4 + 30 * host * rng.uniform(0.7, 1.4, 12)
        assert not any(
            is_slow(seconds[n], expected_seconds(n, seconds, host), 4.0) for n in range(12)
        )


def test_an_op_far_beyond_the_others_is_slow_whatever_its_work():
    rng = np.random.default_rng(1)
    for _ in range(200):
        host = rng.uniform(1e-6, 1e-3, 12)
        seconds = 2e-4 + 2 * host
        at = int(rng.integers(12))
        seconds[at] += 0.1
        slow = [n for n in range(12) if is_slow(seconds[n], expected_seconds(n, seconds, host), 4)]
        assert slow == [at]


def test_an_op_alone_is_compared_with_the_host():
    assert expected_seconds(0, [5.0], [0.1]) == 0.1
    assert not is_slow(0.4 + FLOOR, 0.1, 4.0)
