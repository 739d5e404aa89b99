"""Dimensions of a segment are told by its inputs, or the segment cannot be called."""

import numpy as np
import pytest

from byoc.dims import evaluate
from byoc.partition.grouping.segment_dims import segment_dims


def test_what_a_convolution_left_gets_a_name():
    left = "(h - 1) // 2 + 1"
    dims = segment_dims([left, 8], [left, "(h - 1) // 2 * 2 + 2", "(h - 1) // 4 + 1", 8])
    assert dims is not None
    assert dims.of(left) == "s0"
    assert dims.of("(h - 1) // 2 * 2 + 2") == "(s0 - 1) * 2 + 2"
    assert dims.of("(h - 1) // 4 + 1") == "(s0 - 1) // 2 + 1"
    assert dims.of(8) == 8


def test_names_that_inputs_have_stay():
    dims = segment_dims(["h", "n * 2"], ["h", "n * 2", "h // 2", "n * 2 + h"])
    assert dims is not None
    assert dims.of("h // 2") == "h // 2"
    assert dims.of("n * 2 + h") == "s0 // 2 * 2 + h"


@pytest.mark.parametrize("used", ["h", "m", "(h - 1) // 3", "?", "max(h, 4)"])
def test_what_the_inputs_do_not_tell(used):
    assert segment_dims(["(h - 1) // 2 + 1"], [used]) is None


def test_fresh_names_are_new():
    dims = segment_dims(["s0", "h // 2"], ["h // 2"])
    assert dims is not None
    assert dims.of("h // 2") == "s1"


@pytest.mark.parametrize("seed", range(40))
def test_random_steps_keep_every_size(seed):
    """Strides, pools and upsamplings in the order of a network, cut anywhere."""
    rng = np.random.default_rng(seed)
    core, scale, shift, dims = "h", 1, 0, ["h"]
    divisor = 1
    for _ in range(6):
        step = rng.integers(3)
        if step == 0:
            scale, shift = scale * 2, shift * 2
        elif step == 1:
            shift += int(rng.integers(1, 4))
        elif scale == 1 and shift == 0:
            divisor *= 2
            core = f"h // {divisor}"
        dims.append(f"{core} * {scale} + {shift}")
    cut = int(rng.integers(len(dims)))
    found = segment_dims([dims[cut]], dims[cut:])
    if found is None:
        return
    for height in (1, 2, 7, 30, 65):
        name = found.fresh.get(dims[cut])
        sizes = {"h": height} if name is None else {name: evaluate(dims[cut], {"h": height})}
        for dim in dims[cut:]:
            assert evaluate(found.of(dim), sizes) == evaluate(dim, {"h": height}), (dims, cut)
