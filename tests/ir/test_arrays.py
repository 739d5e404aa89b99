"""Arrays as TVM's tensors and back: the same memory wherever that is possible."""

import ml_dtypes
import numpy as np
import pytest

from byoc.ir.arrays import from_numpy, is_readable, same_array, to_numpy
from byoc.support.memory import aligned_empty, is_aligned


def address(array):
    return array.__array_interface__["data"][0]


def aligned(values):
    out = aligned_empty(values.shape, values.dtype)
    out[...] = values
    return out


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int8", "uint64", "bool", ml_dtypes.bfloat16]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (4, 5)])
def test_there_and_back(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    back = to_numpy(from_numpy(array))
    assert back.shape == shape and back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    if array.size and dtype is not ml_dtypes.bfloat16:  # that one comes back as a copy
        assert is_aligned(back)


def test_what_kernels_can_read_is_not_copied():
    array = aligned(np.ones((4, 5), np.float32))
    assert is_readable(array)
    assert address(to_numpy(from_numpy(array))) == address(array)


@pytest.mark.parametrize("why", ["unaligned", "strided", "read-only"])
def test_what_they_cannot_is(why):
    array = aligned(np.ones((8, 8), np.float32))
    if why == "read-only":
        array.flags.writeable = False
    else:
        array = array.reshape(-1)[1:] if why == "unaligned" else array.T
    assert not is_readable(array)
    back = to_numpy(from_numpy(array))
    assert address(back) != address(array) and is_aligned(back)
    np.testing.assert_array_equal(back, array)


def test_views_of_one_constant_are_one_array():
    array = np.ones((4, 5), np.float32)
    assert same_array(array[...], [np.ones((4, 5), np.float32), array]) is array
    part = array[:2]
    assert same_array(part, [array]) is part
    assert same_array(view := array.view(np.int32), [array]) is view
