"""Einstein sums in the normal form: products of matrices, with numpy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax, tirx
from tvm.relax import op as R

import byoc
from byoc.frontends import import_model

LENGTHS = dict(zip("abcdefgh", (2, 3, 4, 5, 1, 2, 3, 6), strict=True))


def _draw(rng):
    """An equation of up to three operands, and their shapes."""
    letters = list(rng.choice(list(LENGTHS), size=int(rng.integers(1, 6)), replace=False))
    count = int(rng.choice([1, 2, 2, 2, 2, 3]))
    terms = []
    for _ in range(count):
        some = [c for c in letters if rng.random() < 0.6] or letters[:1]
        terms.append("".join(rng.permutation(some)))
    used = sorted(set("".join(terms)))
    result = "".join(rng.permutation([c for c in used if rng.random() < 0.6] or used[:1]))
    shapes = [tuple(LENGTHS[c] for c in t) for t in terms]
    if rng.random() < 0.3:  # hidden axes, of which the first operand has all
        hidden = [tuple(int(d) for d in (2, 3)[: int(rng.integers(0, 3))]) for _ in terms]
        most = max(hidden, key=len)
        hidden = [most[len(most) - len(h) :] for h in hidden]
        terms = ["..." + t for t in terms]
        shapes = [h + s for h, s in zip(hidden, shapes, strict=True)]
        result = "..." + result
    text = ",".join(terms)
    return (text if rng.random() < 0.15 else f"{text}->{result}"), shapes


def _module(equations, dtype="float32"):
    builder = relax.BlockBuilder()
    params, results = [], []
    for k, (_, shapes) in enumerate(equations):
        params.append([relax.Var(f"x{k}_{i}", relax.TensorType(s, dtype))
                       for i, s in enumerate(shapes)])  # fmt: skip
    with builder.function("main", [p for group in params for p in group]):
        with builder.dataflow():
            for (equation, _), group in zip(equations, params, strict=True):
                results.append(builder.emit(R.einsum(group, equation)))
            out = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(out)
    return builder.get()


@pytest.mark.parametrize("seed", range(4))
def test_random_equations_have_numpys_numbers_and_no_einsum(seed, case):
    rng = np.random.default_rng(seed)
    equations = [_draw(rng) for _ in range(24)]
    feeds = [[rng.standard_normal(s).astype("float32") for s in shapes] for _, shapes in equations]
    mod = _module(equations)
    assert "einsum" not in case.tools.ops(import_model(mod).mod)
    got = byoc.compile(mod, vendors=[])(*(x for group in feeds for x in group))
    for (equation, _), group, value in zip(equations, feeds, got, strict=True):
        np.testing.assert_allclose(
            value, np.einsum(equation, *group), rtol=1e-4, atol=1e-4, err_msg=equation
        )


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], {"matmul": 1}),
        ("bsd,de->bse", [(2, 3, 4), (4, 5)], {"matmul": 1}),
        ("bqhd,bkhd->bhqk", [(2, 3, 4, 5), (2, 6, 4, 5)], {"permute_dims": 2, "matmul": 1}),
        ("ij->ji", [(3, 4)], {"permute_dims": 1}),
        ("ij->", [(3, 4)], {"sum": 1}),
        ("bi,bi->bi", [(2, 3), (2, 3)], {"multiply": 1}),
        # a product, not its transpose
        ("bqd,bkd->bkq", [(2, 3, 4), (2, 5, 4)], {"permute_dims": 1, "matmul": 1}),
        # a diagonal
        ("ii->i", [(3, 3)], {"einsum": 1}),
    ],
)
def test_what_a_product_of_matrices_takes(case, equation, shapes, expected):
    mod = _module([(equation, shapes)])
    assert case.tools.ops(import_model(mod).mod) == expected


def test_weights_stand_on_the_right(case):
    weights = relax.const(np.arange(12, dtype="float32").reshape(3, 4))
    case.check(
        [relax.TensorType((2, 4, 5), "float32")],
        lambda x: R.einsum([weights, x], "oc,bcs->bos"),
        {"permute_dims": 2, "matmul": 1},
    )


def test_attention_of_einsums_is_attention(case):
    def body(q, k, v):
        scores = R.multiply(R.einsum([q, k], "bqhd,bkhd->bhqk"), relax.const(np.float32(0.5)))
        return R.einsum([R.nn.softmax(scores, -1), v], "bhqk,bkhd->bqhd")

    case.check([relax.TensorType((2, 3, 2, 4), "float32")] * 3, body, {"nn.attention": 1})


def test_lengths_that_are_symbolic(case):
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    equations = [
        ("bnhd,bmhd->bhnm", [(2, n, 3, 4), (2, m, 3, 4)]),
        ("nhd,hde->ne", [(n, 3, 4), (3, 4, 5)]),
        ("nm,km->kn", [(n, m), (5, m)]),
    ]
    mod = _module(equations)
    assert "einsum" not in case.tools.ops(import_model(mod).mod)
    exe = byoc.compile(mod, vendors=[])
    rng = np.random.default_rng(0)
    for sizes in ({n: 3, m: 5}, {n: 1, m: 1}):
        feeds = [
            [rng.standard_normal([sizes.get(d, d) for d in s]).astype("float32") for s in shapes]
            for _, shapes in equations
        ]
        for (equation, _), group, value in zip(
            equations, feeds, exe(*(x for g in feeds for x in g)), strict=True
        ):
            np.testing.assert_allclose(value, np.einsum(equation, *group), rtol=1e-4, atol=1e-5)
