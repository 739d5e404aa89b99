"""Twice the ops cost about twice the time, as one segment and as many."""

import time

import pytest

from benchmarks.partition_scaling import build_chain, make_vendor
from byoc.partition import partition_module

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("last", "segments"), [("sigmoid", 1), ("tanh", 500)])
def test_time_grows_with_the_ops(last, segments):
    spent = []
    for ops in (2000, 8000):
        mod, vendor, best = build_chain(ops, last), make_vendor(), float("inf")
        for _ in range(3):
            start = time.process_time()
            result = partition_module(mod, [vendor], min_segment_ops=1)
            best = min(best, time.process_time() - start)
        spent.append(best)
        assert len(result.segments) == (1 if segments == 1 else ops // 4)
    assert spent[1] < 8 * spent[0]  # 4 when linear, 16 when quadratic
