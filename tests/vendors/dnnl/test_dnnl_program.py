"""What lowering makes of whole segments: fusion, attention, layouts, shapes, shared weights."""

import json

import cases
import numpy as np
import pytest
from cases import const, emit, scalar
from interpret import interpret
from relaxed import Reference, as_segment, random_inputs, relax_module
from tvm import relax
from tvm.relax import op as R

from byoc.errors import CompileError
from byoc.segment import Node, Segment, TensorType
from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment

X4 = cases.X4


def compiled(build, *inputs, **options):
    segment = as_segment(relax_module({"main": (build, inputs)})["main"])
    return segment, compile_segment(segment, DnnlOptions(**options))


def program(artifact):
    return json.loads(artifact.blob)


def ops(artifact):
    """``["convolution add relu"]``: kinds with their post-ops."""
    return [
        " ".join([op["kind"], *(post["alg"] for post in op["post"])])
        for op in program(artifact)["ops"]
    ]


def describe(artifact):
    """The program as lines a human can compare: what golden files hold."""
    data = program(artifact)
    values = [f"{v['dtype']}{v['shape']}" for v in data["values"]]
    lines = [f"inputs {data['inputs']} outputs {data['outputs']}"]
    lines += [f"%{i} = constant {index} {values[int(i)]}" for i, index in data["constants"].items()]
    for op in data["ops"]:
        outs = ", ".join(f"%{v} {values[v]}" for v in op["outputs"])
        attrs = " ".join(f"{k}={v}" for k, v in op["attrs"].items())
        args = ", ".join(f"%{v}" for v in op["inputs"])
        lines.append(f"{outs} = {op['kind']}({args}) {attrs}".rstrip())
        for post in op["post"]:
            value = {k: v for k, v in post.items() if k not in ("post", "alg")}
            lines.append(f"    {post['alg']} {value}")
    return "\n".join(lines) + "\n"


def same_as_tvm(functions, env=None, seeds=(0, 1)):
    """Every function, fused and not, against TVM; gives the fused programs' ops."""
    mod = relax_module(functions)
    reference = Reference(mod)
    found = {}
    for name in functions:
        segment = as_segment(mod[name])
        artifacts = [compile_segment(segment, DnnlOptions(fuse=f)) for f in (True, False)]
        found[name] = ops(artifacts[0])
        for seed in seeds:
            for sizes in env or [None]:
                inputs = random_inputs(segment, seed, sizes)
                expected = reference(name, inputs)
                for artifact in artifacts:
                    for f, e in zip(interpret(artifact, inputs), expected, strict=True):
                        np.testing.assert_allclose(f, e, rtol=3e-5, atol=3e-5)
    return found


def _residual_block(x):
    down = R.add(R.nn.conv2d(x, const(6, 8, 1, 1)), const(1, 6, 1, 1))
    one = R.nn.relu(R.add(R.nn.conv2d(x, const(6, 8, 1, 1)), const(1, 6, 1, 1)))
    two = R.add(R.nn.conv2d(one, const(6, 6, 3, 3), padding=1), const(1, 6, 1, 1))
    y = emit(R.nn.relu(R.add(two, down)))
    pooled = R.mean(y, axis=[2, 3], keepdims=True)
    return R.matmul(R.reshape(pooled, (2, 6)), R.permute_dims(const(10, 6)))


def test_residual_block(golden):
    _, artifact = compiled(_residual_block, X4)
    golden(describe(artifact), "residual_block.txt")
    assert artifact.notes == (
        "6 ops (3 convolution, 1 global_pooling, 1 reshape, 1 matmul), 3 fused as post-ops",
    )


def test_nhwc_model_has_no_transposes_left_but_the_first():
    def block(x, channels):
        layout = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
        y = R.nn.conv2d(x, const(3, 3, channels, 4), padding=1, **layout)
        y = emit(R.clip(R.add(y, const(4)), 0, 6))
        z = R.add(R.nn.conv2d(y, const(1, 1, 4, 4), **layout), const(4))
        return emit(R.add(emit(z), y))

    def build(x):
        y = block(block(x, 3), 4)
        y = R.nn.avg_pool2d(y, (2, 2), strides=(2, 2), layout="NHWC")
        y = R.nn.pad(y, (0, 0, 1, 0, 0, 1, 0, 0))
        y = R.strided_slice(y, [3], [0], [2])
        return R.nn.softmax(R.mean(y, axis=[1, 2]))

    found = same_as_tvm({"main": (build, [(1, 6, 8, 3)])})["main"]
    assert sum(o.startswith("transpose") for o in found) == 1 and found[0] == "transpose"
    assert found[1:5] == ["convolution clip", "convolution add"] * 2


def _heads(x, shape=(2, 5, 3, 4)):
    return R.permute_dims(R.reshape(x, shape), [0, 2, 1, 3])


def _softmax_product(scores, v):
    return R.matmul(R.nn.softmax(scores, axis=-1), v)


def _attention(x, *, scale_q=None, mask=None, keep=None, number=-1e9, out=True):
    q, k, v = (emit(R.matmul(x, const(12, 12))) for _ in range(3))
    q, v = emit(_heads(q)), emit(_heads(v))
    k = emit(R.permute_dims(R.reshape(k, (2, 5, 3, 4)), [0, 2, 3, 1]))
    scores = R.matmul(R.multiply(q, scalar(scale_q)) if scale_q else q, k)
    scores = emit(scores if scale_q else R.divide(scores, scalar(2)))
    if keep is not None:
        scores = emit(R.where(keep, scores, scalar(number)))
    if mask is not None:
        scores = emit(R.add(mask, scores))
    y = emit(_softmax_product(scores, v))
    return emit(R.reshape(R.permute_dims(y, [0, 2, 1, 3]), (2, 5, 12))) if out else y


def _flat_attention(x, m):
    """As exporters of batched products write it: [B*H, S, D], scaled queries, mask in 4-D."""

    def flat(y):
        return emit(R.reshape(_heads(y), (6, 5, 4)))

    q, k, v = (flat(R.matmul(x, const(12, 12))) for _ in range(3))
    scores = emit(R.matmul(R.multiply(q, scalar(0.5)), R.permute_dims(k, [0, 2, 1])))
    scores = emit(R.add(R.reshape(scores, (2, 3, 5, 5)), m))
    y = emit(_softmax_product(R.reshape(scores, (6, 5, 5)), v))
    y = R.permute_dims(emit(R.reshape(y, (2, 3, 5, 4))), [0, 2, 1, 3])
    return R.reshape(emit(y), (2, 5, 12))


CAUSAL = np.tri(5, dtype=bool).reshape(1, 1, 5, 5)
X3 = (2, 5, 12)
ATTENTIONS = {
    "plain": (lambda x: _attention(x), [X3], {}),
    "scaled_query": (lambda x: _attention(x, scale_q=0.3), [X3], {"scale": 0.3}),
    "mask": (lambda x, m: _attention(x, mask=m), [X3, (2, 1, 1, 5)], {"inputs": 4}),
    "mask_of_heads": (lambda x, m: _attention(x, mask=m), [X3, (3, 5, 5)], {"inputs": 4}),
    "keep": (
        lambda x, c: _attention(x, keep=c),
        [X3, ((2, 1, 5, 5), "bool")],
        {"inputs": 4},
    ),
    "keep_and_mask": (
        lambda x, c, m: _attention(x, keep=c, mask=m),
        [X3, ((1, 1, 5, 5), "bool"), (2, 3, 5, 5)],
        {"inputs": 4},
    ),
    "causal_where": (lambda x: _attention(x, keep=relax.const(CAUSAL)), [X3], {"causal": True}),
    "causal_mask": (
        lambda x: _attention(
            x, mask=relax.const(np.where(CAUSAL, 0, -3e38).astype("float32")), scale_q=0.5
        ),
        [X3],
        {"causal": True},
    ),
    "flat": (_flat_attention, [X3, (2, 1, 5, 5)], {"inputs": 4}),
    "heads_first": (lambda x: _attention(x, out=False), [X3], {"transposes": 1}),
    "scale_after_mask": (
        lambda q, k, m: _softmax_product(
            R.multiply(R.add(R.matmul(q, R.permute_dims(k, [0, 1, 3, 2])), m), scalar(0.5)), k
        ),
        [(1, 2, 5, 4), (1, 2, 5, 4), (5, 5)],
        {"inputs": 4, "layout": "bhsd"},
    ),
    "keep_nothing": (
        lambda x: _attention(x, keep=relax.const(CAUSAL & CAUSAL[..., ::-1, :]), number=-1e4),
        [X3],
        {"inputs": 4, "hidden": -1e4},
    ),
    "no_heads": (
        lambda q, k, v: _softmax_product(
            R.multiply(R.matmul(q, R.permute_dims(k, [0, 2, 1])), scalar(0.5)), v
        ),
        [(2, 5, 4), (2, 7, 4), (2, 7, 6)],
        {"layout": "bhsd"},
    ),
}


@pytest.fixture(scope="module")
def attentions():
    functions = {name: (build, inputs) for name, (build, inputs, _) in ATTENTIONS.items()}
    same_as_tvm(functions)
    mod = relax_module(functions)
    return {
        name: program(compile_segment(as_segment(mod[name]), DnnlOptions())) for name in functions
    }


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_one_op(name, attentions):
    expected = {
        "scale": 0.5,
        "causal": False,
        "layout": "bshd",
        "inputs": 3,
        "transposes": 0,
        **ATTENTIONS[name][2],
    }
    kinds = [op["kind"] for op in attentions[name]["ops"]]
    assert kinds.count("transpose") == expected["transposes"]
    (op,) = (op for op in attentions[name]["ops"] if op["kind"] == "attention")
    assert "softmax" not in kinds
    found = {**op["attrs"], "inputs": len(op["inputs"]), "transposes": expected["transposes"]}
    assert found == pytest.approx(expected)


def test_what_is_no_attention_stays():
    functions = {
        "weights_used_twice": (
            lambda q, k, v: (lambda w: [R.matmul(w, v), w])(
                emit(R.nn.softmax(R.matmul(q, R.permute_dims(k, [0, 1, 3, 2]))))
            ),
            [(1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4)],
        ),
        "small_number": (
            lambda x, c: _attention(x, keep=c, number=-1.0),
            [X3, ((2, 1, 5, 5), "bool")],
        ),
        "other_axis": (
            lambda q, k, v: R.matmul(
                R.nn.softmax(R.matmul(q, R.permute_dims(k, [0, 2, 1])), axis=1), v
            ),
            [(2, 5, 4), (2, 5, 4), (2, 5, 4)],
        ),
    }
    for found in same_as_tvm(functions).values():
        assert not any(o.startswith("attention") for o in found)


SYMBOLIC = {
    "batch": (
        lambda x: R.nn.softmax(
            R.matmul(
                R.reshape(
                    R.nn.max_pool2d(
                        R.nn.relu(R.add(R.nn.conv2d(x, const(6, 8, 3, 3)), const(1, 6, 1, 1))),
                        (5, 7),
                    ),
                    (x.ty.shape[0], 6),
                ),
                const(6, 3),
            )
        ),
        [("n", 8, 7, 9)],
    ),
    "sequence": (
        lambda x: (
            R.add(x, R.reshape(R.multiply(x, x), (x.ty.shape[0] * 12,)))
            if False
            else R.reshape(R.nn.gelu(x), (x.ty.shape[0] * 12,))
        ),
        [("n", 12)],
    ),
    "last_token": (
        lambda x: R.strided_slice(x, [1, 2], [-1, 1], [2**31 - 1, 2**31 - 1], [1, 3]),
        [("n", "m", 8)],
    ),
    "first_token": (lambda x: R.take(x, cases.index(0, shape=()), axis=1), [("n", "m", 8)]),
    "late_tokens": (lambda x: R.strided_slice(x, [1], [1], [2**31 - 1]), [("n", "m", 8)]),
}


def test_symbolic_shapes():
    env = [{"n": n, "m": m} for n, m in ((1, 2), (3, 5), (17, 4))]
    same_as_tvm(SYMBOLIC, env)


def _by_hand(nodes, types, inputs, outputs, constants=None):
    values = tuple(TensorType(tuple(shape), dtype) for shape, dtype in types)
    return Segment("dnnl_7", "dnnl", values, tuple(nodes), (), inputs, outputs, constants or {})


def test_compound_input_dims_become_variables():
    types = [(("n * 12", 4), "float32"), (("n * 12", 4), "float32"), (("n", 48), "float32")]
    nodes = [Node("nn.relu", (0,), (1,)), Node("reshape", (1,), (2,), {"shape": ("n", 48)})]
    artifact = compile_segment(_by_hand(nodes, types, (0,), (2,)), DnnlOptions())
    shapes = [v["shape"] for v in program(artifact)["values"]]
    assert shapes == [["s0", 4], ["s0", 4], ["s0 // 12", 48]]
    x = np.random.default_rng(0).standard_normal((36, 4)).astype("float32")
    np.testing.assert_array_equal(interpret(artifact, [x])[0], np.maximum(x, 0).reshape(3, 48))


def test_unbound_dims_are_an_error():
    types = [(("n * m",), "float32"), (("n", "m"), "float32")]
    nodes = [Node("reshape", (0,), (1,), {"shape": ("n", "m")}, ("flat",))]
    with pytest.raises(CompileError) as error:
        compile_segment(_by_hand(nodes, types, (0,), (1,)), DnnlOptions())
    assert str(error.value) == (
        "dnnl: segment 'dnnl_7': dimension(s) m, n cannot be computed from the shapes of the inputs"
    )


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("cumsum", {}, "is not supported; the supported ops are in its README"),
        ("nn.leakyrelu", {"alpha": 0.1}, "needs float32, found int64"),
    ],
)
def test_unsupported_ops_are_an_error(op, attrs, message):
    types = [((3,), "int64"), ((3,), "int64")]
    segment = _by_hand([Node(op, (0,), (1,), attrs, ("block.act",))], types, (0,), (1,))
    with pytest.raises(CompileError) as error:
        compile_segment(segment, DnnlOptions())
    assert f"segment 'dnnl_7', op {op!r} (block.act)" in str(error.value)
    assert message in str(error.value)


def test_weights_are_the_models_own_memory():
    def build(x):
        hidden = R.add(R.matmul(x, R.permute_dims(const(20, 12))), const(20))
        image = R.reshape(R.nn.relu(hidden), (5, 5, 2, 2))
        return R.add(R.nn.conv2d(image, const(6, 5, 1, 1)), const(1, 6, 1, 1))

    segment, artifact = compiled(build, (5, 12))
    mine = {a.__array_interface__["data"][0] for a in segment.constants.values()}
    given = [np.asarray(a).__array_interface__["data"][0] for a in artifact.constants]
    assert len(given) == 4 and set(given) == mine


def test_scaled_weights_leave_the_models_memory_alone():
    weight, scale = const(6, 8, 1, 1), const(1, 6, 1, 1)
    before = weight.value.numpy().copy()
    _, artifact = compiled(lambda x: R.multiply(R.nn.conv2d(x, weight), scale), X4)
    np.testing.assert_array_equal(weight.value.numpy(), before)
    assert ops(artifact) == ["convolution"]


def test_masks_that_overflow_are_not_merged():
    huge = 3.4028234663852886e38

    def build(x):
        return R.multiply(R.multiply(R.subtract(scalar(1), x), scalar(-huge)), scalar(2))

    _, artifact = compiled(build, (5,))
    json.loads(artifact.blob, parse_constant=lambda text: pytest.fail(f"{text} in the program"))
    assert ops(artifact) == ["eltwise linear linear"]


@pytest.mark.parametrize(
    ("shape", "by", "kind"),
    [
        ((), 255, "binary"),
        ((1, 1), 255, "binary"),
        ((), 256, "eltwise"),
        ((5,), 255, "binary"),
        ((5,), 0.125, "eltwise"),
    ],
)
def test_values_are_divided_not_multiplied_by_a_rounded_reciprocal(shape, by, kind):
    """The last bit of a quotient decides which way ties are rounded, floor and casts go."""
    _, artifact = compiled(lambda x: R.divide(x, scalar(by)), shape)
    assert ops(artifact) == [kind]


def test_long_chains_are_cut():
    def build(x, y):
        for _ in range(20):
            x = emit(R.tanh(R.add(x, y)))
        return x

    segment, artifact = compiled(build, (5, 12), (5, 12))
    posts = [len(op["post"]) for op in program(artifact)["ops"]]
    assert max(posts) == 12 and sum(posts) + len(posts) == 40
    inputs = random_inputs(segment, 0)
    x = inputs[0]
    for _ in range(20):
        x = np.tanh(x + inputs[1])
    np.testing.assert_allclose(interpret(artifact, inputs)[0], x, rtol=1e-5, atol=1e-5)


def test_pixel_shuffle():
    segment, artifact = compiled(lambda x: R.nn.pixel_shuffle(x, 2), X4)
    (x,) = random_inputs(segment, 0)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3)
    np.testing.assert_array_equal(
        interpret(artifact, [x])[0], blocks.reshape(n, c // 4, 2 * h, 2 * w)
    )


@pytest.mark.parametrize(("data", "kernel"), [("NHWC", "OHWI"), ("NWCH", "IHOW"), ("CNHW", "WHIO")])
def test_convolution_layouts(data, kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 7, 9)).astype("float32")
    w = rng.standard_normal((6, 8, 3, 3)).astype("float32")

    def laid(array, letters, layout):
        return np.ascontiguousarray(array.transpose([letters.index(c) for c in layout]))

    def segment(data, kernel):
        shapes = [laid(x, "NCHW", data).shape, laid(w, "OIHW", kernel).shape]
        out = dict(zip("NCHW", (2, 6, 5, 7), strict=True))
        types = [(s, "float32") for s in (*shapes, [out[c] for c in data])]
        attrs = {
            "strides": (1, 1),
            "padding": (0, 0, 0, 0),
            "dilation": (1, 1),
            "groups": 1,
            "data_layout": data,
            "kernel_layout": kernel,
            "out_layout": data,
            "out_dtype": None,
        }
        constants = {1: laid(w, "OIHW", kernel)}
        return _by_hand([Node("nn.conv2d", (0, 1), (2,), attrs)], types, (0,), (2,), constants)

    (plain,) = interpret(compile_segment(segment("NCHW", "OIHW"), DnnlOptions()), [x])
    artifact = compile_segment(segment(data, kernel), DnnlOptions())
    (found,) = interpret(artifact, [laid(x, "NCHW", data)])
    np.testing.assert_allclose(found, laid(plain, "NCHW", data), rtol=1e-6)


def test_options_reach_the_program():
    _, artifact = compiled(lambda x: R.nn.relu(x), (5,), instances=3)
    assert program(artifact)["instances"] == 3
    product = (lambda x: R.matmul(x, const(5, 4)), (3, 5))
    marks = [
        [op["attrs"].get("bf16", False) for op in program(compiled(*product, **options)[1])["ops"]]
        for options in ({}, {"precision": "bf16"})
    ]
    assert marks == [[False], [True]]


def test_the_former_name_of_precision_still_works():
    with pytest.warns(DeprecationWarning, match="fpmath='bf16' is now precision='bf16'"):
        assert DnnlOptions(fpmath="bf16").precision == "bf16"
    with pytest.warns(DeprecationWarning, match="precision='f32'"):
        assert DnnlOptions(fpmath="strict") == DnnlOptions()


def test_blobs_are_the_same_every_time():
    first, second = (compiled(_residual_block, X4)[1] for _ in range(2))
    assert first.blob == second.blob
