"""A partitioning leaves no cycles behind: a model's weights are freed with the last reference."""

import gc

import pytest

from benchmarks.partition_scaling import build_chain, make_vendor
from byoc.partition import partition_module


@pytest.mark.parametrize("placement", ["order", "model"])
def test_nothing_is_left_to_the_collector(placement):
    mod, vendor = build_chain(400, "tanh"), make_vendor()
    partition_module(mod, [vendor], placement=placement)  # imports, caches of the module
    gc.collect()
    gc.disable()
    try:
        result = partition_module(mod, [vendor], placement=placement, min_segment_ops=1)
        assert len(result.report.ops) == 400
        del result
        assert gc.collect() < 100  # 8 000 when anything keeps 400 ops with 200 constants
    finally:
        gc.enable()


def test_what_the_user_froze_stays_frozen():
    mod, vendor = build_chain(40, "tanh"), make_vendor()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        partition_module(mod, [vendor])
        # Some of them may have died meanwhile, in other threads of the process.
        assert 0.99 * frozen < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()
    partition_module(mod, [vendor])
    assert gc.isenabled() and gc.get_freeze_count() == 0
