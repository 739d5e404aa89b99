"""Dtypes by name, and memory where kernels want it."""

import ml_dtypes
import numpy as np
import pytest

from byoc.errors import ArtifactError
from byoc.support.dtypes import DtypeError, numpy_dtype
from byoc.support.memory import ALIGNMENT, aligned_empty, aligned_zeros, is_aligned, round_up


@pytest.mark.parametrize("name", ["float32", "bool", "int8", "uint64", "complex64"])
def test_dtypes_of_numpy(name):
    assert numpy_dtype(name) == np.dtype(name)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_dtypes_of_ml_dtypes(name):
    assert numpy_dtype(name) == np.dtype(getattr(ml_dtypes, name))
    assert numpy_dtype(name).name == name


@pytest.mark.parametrize("name", ["", "float33", "finfo", "__name__", "e" * 9999])
def test_unknown_dtypes(name):
    with pytest.raises(DtypeError, match="known neither to numpy nor to ml_dtypes") as caught:
        numpy_dtype(name)
    assert isinstance(caught.value, ArtifactError) and isinstance(caught.value, TypeError)


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (1000, 7)])
@pytest.mark.parametrize("dtype", ["float32", "bool", "float64"])
def test_aligned_arrays(shape, dtype):
    for make in (aligned_empty, aligned_zeros):
        arrays = [make(shape, dtype) for _ in range(5)]
        assert all(
            (is_aligned(a) or not a.size) and a.flags.c_contiguous and a.flags.writeable
            for a in arrays
        )
        assert all(a.shape == shape and a.dtype == dtype for a in arrays)
    assert not any(a.any() for a in arrays)


def test_alignment():
    raw = aligned_empty((200,), "uint8")
    assert not is_aligned(raw[1:]) and is_aligned(raw[ALIGNMENT:])
    assert [round_up(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]
    assert round_up(10, 4) == 12
