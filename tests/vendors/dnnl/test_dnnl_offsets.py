"""Parts of tensors, compiled end to end: a view that starts late must be read where it starts.

oneDNN's matrix products overlook an offset inside a memory descriptor, so a slice that is passed
on as a view once gave the rows of its neighbour.
"""

import numpy as np
import pytest
from cases import emit
from relaxed import relax_module

import byoc

RNG = np.random.default_rng(11)


def _constant(*shape):
    from tvm import relax

    return relax.const(RNG.standard_normal(shape).astype("float32"))


def _op():
    from tvm.relax import op

    return op


def _slice(x, axis, begin, end, step=1):
    return emit(_op().strided_slice(x, [axis], [begin], [end], [step]))


def _matmul(x):
    return _op().matmul(x, _constant(int(x.ty.shape[-1]), 5))


def _conv(x):
    return _op().nn.conv2d(x, _constant(16, int(x.ty.shape[1]), 3, 3), padding=1)


def _pool(x):
    return _op().nn.max_pool2d(x, (2, 2), (1, 1))


def _average(x):
    return _op().nn.avg_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1))


def _binary(x):
    return _op().add(x, _constant(*(int(d) for d in x.ty.shape)))


def _softmax(x):
    return _op().nn.softmax(x, axis=1)


MAPS = {"conv": _conv, "max": _pool, "avg": _average, "binary": _binary, "softmax": _softmax,
        "matmul": _matmul}  # fmt: skip
PARTS = {
    "rows": (2, 3, 9, 1),
    "columns": (3, 2, 8, 1),
    "channels": (1, 5, 29, 1),
    "block": (1, 16, 32, 1),
    "one": (1, 7, 8, 1),
    "image": (0, 1, 2, 1),
    "stepped": (1, 3, 30, 2),
    "stepped_rows": (2, 1, 9, 3),
}


def _check(shape, build):
    """The function compiled for dnnl against the host's."""
    module = relax_module({"main": (build, [shape])})
    data = RNG.standard_normal(shape).astype("float32")
    results = []
    for vendors in (["dnnl"], []):
        compiled = byoc.compile(module, vendors)
        assert bool(compiled.report.segments) == bool(vendors)
        found = compiled(data)
        results.append(list(found) if isinstance(found, (list, tuple)) else [found])
    for found, want in zip(*results, strict=True):
        np.testing.assert_allclose(found, want, rtol=3e-5, atol=3e-5)


def test_a_late_slice_times_a_constant():
    _check((3, 8, 12), lambda x: _matmul(_slice(x, 1, 7, 8)))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_slices_of_rows_times_a_constant(step):
    bounds = [(0, 1, 3), (1, 3, 8), (2, 5, 12)]
    _check((3, 8, 12), lambda x: [_matmul(_slice(x, *b, step)) for b in bounds])


@pytest.mark.parametrize("name", MAPS)
def test_parts_of_an_input(name):
    _check((2, 32, 10, 9), lambda x: [MAPS[name](_slice(x, *p)) for p in PARTS.values()])


@pytest.mark.parametrize("name", MAPS)
def test_parts_of_what_a_convolution_made_are_also_outputs(name):
    def build(x):
        made = emit(_op().nn.relu(emit(_conv_to(x, 32))))
        pieces = [_slice(made, *p) for p in PARTS.values()]
        return [*(MAPS[name](p) for p in pieces), *pieces]

    _check((2, 3, 10, 9), build)


@pytest.mark.parametrize("name", MAPS)
def test_splits_joined_in_another_order(name):
    def build(x):
        parts = emit(_op().split(emit(_conv_to(x, 40)), [8, 24], axis=1))
        pieces = [emit(parts[i]) for i in range(3)]
        outer = emit(_op().concat([pieces[2], emit(_op().tanh(pieces[0]))], axis=1))
        inner = emit(_op().concat([outer, pieces[1]], axis=1))
        return [MAPS[name](inner), outer, MAPS[name](pieces[1])]

    _check((1, 3, 10, 9), build)


def _conv_to(x, channels):
    return _op().nn.conv2d(x, _constant(channels, int(x.ty.shape[1]), 3, 3), padding=1)
