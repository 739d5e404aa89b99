"""Types kept for calls like others are those that TVM infers."""

import itertools

import numpy as np
import pytest
import tvm
from tvm import relax

from byoc.frontends.fitting.builder import FittingBuilder
from byoc.frontends.fitting.inferred import InferredTypes

SHAPES = [(1, 8, 6, 6), (2, 8, 6, 6), (1, 8, 7, 5), (1, 4, 6, 6)]


def calls():
    """Calls of ops with layouts over every mix of shapes, dtypes and attributes, twice each."""
    for shape, dtype in itertools.product(SHAPES, ("float32", "float16")):
        x = relax.Var("x", relax.TensorType(shape, dtype))
        for k, strides, padding in itertools.product((1, 3), (1, 2), (0, 1)):
            groups = shape[1] // 4
            for g in {1, groups}:
                w = relax.const(np.ones((8, shape[1] // g, k, k), dtype))
                yield relax.op.nn.conv2d(x, w, strides=strides, padding=padding, groups=g)
            for layout in ("NCHW", "NHWC"):
                yield relax.op.nn.max_pool2d(x, (k, k), strides, padding, layout=layout)
                yield relax.op.nn.avg_pool2d(x, (k, k), strides, padding, layout=layout)
            w = relax.const(np.ones((shape[1], 2, k, k), dtype))
            yield relax.op.nn.conv2d_transpose(x, w, strides=strides, padding=padding)
        yield relax.op.nn.adaptive_avg_pool2d(x, (2, 2))
        yield relax.op.image.resize2d(x, (3, 9))


def test_kept_types_are_inferred_types():
    plain = relax.BlockBuilder()
    asked = []
    kept = InferredTypes(lambda call: asked.append(call) or plain.normalize(call))
    found = [(plain.normalize(a), kept.typed(b)) for a, b in zip(calls(), calls(), strict=True)]
    first = len(asked)
    for again, (wanted, _) in zip(calls(), found, strict=True):
        typed = plain.normalize(kept.typed(again))
        tvm.ir.assert_structural_equal(typed.ty, wanted.ty)
        tvm.ir.assert_structural_equal(typed.attrs, wanted.attrs)
        assert all(map(relax.Expr.same_as, typed.args, again.args))
    assert first == len(asked) > 100  # nothing was asked for twice


def test_what_does_not_fit_is_refused_each_time():
    builder = FittingBuilder()
    x = relax.Var("x", relax.TensorType((1, 8, 6, 6), "float32"))
    w = relax.const(np.ones((8, 5, 3, 3), "float32"))
    for _ in range(2):
        with pytest.raises(Exception, match="channel size"):
            builder.normalize(relax.op.nn.conv2d(x, w))


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Ones at an address that TVM takes without a copy."""
    size = int(np.prod(shape))
    memory = np.empty(size + 16, "float32")
    start = -memory.ctypes.data % 64 // 4
    array = memory[start : start + size].reshape(shape)
    array[...] = 1
    return array


def test_weights_are_not_kept_alive():
    import gc
    import weakref

    kept = InferredTypes(relax.BlockBuilder().normalize)
    x = relax.Var("x", relax.TensorType((1, 8, 6, 6), "float32"))
    array = aligned((8, 8, 1, 1))
    gone = weakref.ref(array)
    kept.typed(relax.op.nn.conv2d(x, relax.const(tvm.runtime.from_dlpack(array))))
    del array
    gc.collect()
    assert gone() is None
