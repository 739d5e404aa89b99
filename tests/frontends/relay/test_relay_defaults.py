"""What operators compute where a text leaves attributes out, and by the version of TVM."""

from __future__ import annotations

import numpy as np
import pytest

from byoc.errors import ModelError
from byoc.frontends import import_model

HEAD = '#[version = "0.0.5"]\n'
RNG = np.random.default_rng(5)
X = RNG.normal(0, 1, (2, 3)).astype(np.float32)
IMAGE = RNG.normal(0, 1, (1, 2, 3, 5)).astype(np.float32)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, np.inf, -0.2], np.float32)
TIES = np.array([[2, 1, 2], [3, 3, 0]], np.float32)
ROWS = np.array([[0, 5], [-1, 2]], np.int32)


def answers(tools, text, *arrays, head=HEAD):
    params = ", ".join(
        f"%x{i}: Tensor[({', '.join(map(str, a.shape))}), {a.dtype}]" for i, a in enumerate(arrays)
    )
    return tools.run(import_model(f"{head}def @main({params}) {{ {text} }}").mod, *arrays)


def adaptive_max(x, height, width):
    h, w = x.shape[2:]
    rows = [(i * h // height, -(-(i + 1) * h // height)) for i in range(height)]
    columns = [(i * w // width, -(-(i + 1) * w // width)) for i in range(width)]
    return np.stack(
        [np.stack([x[:, :, a:b, c:d].max((2, 3)) for c, d in columns], -1) for a, b in rows], -2
    )


def nearest(x, size):
    """half_pixel, halves of pixels to even: "round" of TVM, in numpy."""
    at = [np.clip(np.rint((np.arange(n) + 0.5) * s / n - 0.5).astype(int), 0, s - 1)
          for n, s in zip(size, x.shape[2:], strict=True)]  # fmt: skip
    return x[:, :, at[0]][:, :, :, at[1]]


def lrn(x, axis):
    x = np.moveaxis(x.astype(np.float64), axis, 0)
    square = np.pad(x**2, [(2, 2)] + [(0, 0)] * (x.ndim - 1))
    around = sum(square[i : i + len(x)] for i in range(5))
    return np.moveaxis(x / (2 + 1e-4 / 5 * around) ** 0.75, 0, axis)


CASES = {
    "round": ("round(%x0)", (HALVES,), [np.trunc(HALVES + np.copysign(0.5, HALVES))]),
    "one_hot": ("one_hot(%x0, 1f, 0f)", (np.array([0, 1], np.int32),),
                [np.array([[1], [0]], np.float32)]),
    "mirror_pad": ("nn.mirror_pad(%x0, pad_width=[[1, 2], [3, 0]])", (X,),
                   [np.pad(X, [(1, 2), (3, 0)], mode="symmetric")]),
    "last of equals": ("argmax(%x0, axis=[1], select_last_index=True)", (TIES,),
                       [np.array([2, 1], np.int32)]),
    "all axes kept": ("argmax(%x0, keepdims=True)", (TIES,), [np.array([[3]], np.int32)]),
    "meshgrid": ('meshgrid((%x0, %x1), indexing="xy")', (X[0], X[1, :2]),
                 np.meshgrid(X[0], X[1, :2])),
    "adv_index": ("adv_index((%x0, %x1, %x2))", (X, np.array([[0], [1]]), np.array([2, 0])),
                  [X[np.array([[0], [1]]), np.array([2, 0])]]),
    "take in batches": ("take(%x0, %x1, axis=1, batch_dims=1)", (X, ROWS),
                        [np.take_along_axis(X, np.clip(ROWS, 0, 2), 1)]),
    "take round and round": ('take(%x0, %x1, axis=1, batch_dims=1, mode="wrap")', (X, ROWS),
                             [np.take_along_axis(X, ROWS % 3, 1)]),
    "uneven pools": ("nn.adaptive_max_pool2d(%x0, output_size=[2, 3])", (IMAGE,),
                     [adaptive_max(IMAGE, 2, 3)]),
    "nearest": ('image.resize2d(%x0, size=[4, 7], method="nearest_neighbor")', (IMAGE,),
                [nearest(IMAGE, (4, 7))]),
    "lrn": ("nn.lrn(%x0, axis=3)", (IMAGE,), [lrn(IMAGE, 3)]),
    "reversed codes": ("reshape(%x0, newshape=[-1, 0], reverse=True)", (X,), [X]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_out_has_its_default(tools, name):
    text, arrays, expected = CASES[name]
    found = answers(tools, text, *arrays)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        if name == "round":
            b = np.where(np.abs(arrays[0]) < 0.5, 0, b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_old_and_new_resize_agree(tools):
    old = answers(tools, 'image.resize(%x0, size=[4, 7], method="bilinear")', IMAGE)
    new = answers(tools, "image.resize2d(%x0, size=[4, 7])", IMAGE)
    np.testing.assert_array_equal(old[0], new[0])


@pytest.mark.parametrize("head, transposed", [(HEAD, False), ("v0.0.4\n", True)])
def test_the_version_decides_the_product(tools, head, transposed):
    a, b = (RNG.normal(0, 1, (1, 2, 2)).astype(np.float32) for _ in range(2))
    (found,) = answers(tools, "nn.batch_matmul(%x0, %x1)", a, b, head=head)
    np.testing.assert_allclose(found, a @ (b.swapaxes(1, 2) if transposed else b), rtol=1e-5)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("repeat(%x0, repeats=2)", "'axis' is missing"),
        ("nn.lrn(%x0, size=4)", "no odd number"),
        ("nn.max_pool2d(%x0, pool_size=[0, 1])", "no window"),
    ],
)
def test_what_tvm_has_no_meaning_for_is_refused(tools, text, reason):
    with pytest.raises(ModelError, match=reason):
        answers(tools, text, IMAGE)
