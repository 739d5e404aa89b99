"""Quantised models: what the vendor computes on integers, against ONNX Runtime's floats.

Each case is a small QDQ model whose inputs lie on their grid, so both sides start from the same
integers; ONNX Runtime runs it unoptimised, op by op. After one requantisation they differ by one
step at most (a tie that float sums of another order break otherwise); where several follow each
other, by one step for each.
"""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from native_programs import load
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.vendor_templates.dnnl import compile as dnnl_compile


class Qdq:
    """Writes a QDQ model; tensors are named after their place."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []
        self.feeds, self.shapes, self.scales = {}, {}, {}

    def _name(self, stem):
        return f"{stem}{len(self.nodes) + len(self.constants) + len(self.inputs)}"

    def constant(self, array):
        name = self._name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, inputs, **attrs):
        name = self._name(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [name], **attrs))
        return name

    def grid(self, dtype=None, scale=None, zero=None):
        """Random scale and zero point."""
        dtype = dtype or str(self.rng.choice(["int8", "uint8"]))
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        scale = np.float32(self.rng.uniform(0.005, 0.05) if scale is None else scale)
        zero = self.rng.integers(low, high + 1) if zero is None else zero
        return scale, np.array(zero, dtype)

    def input(self, *shape, grid=None):
        """A float input on a grid, quantised."""
        scale, zero = grid or self.grid()
        limits = np.iinfo(zero.dtype)
        steps = self.rng.integers(limits.min, limits.max + 1, shape)
        name = self._name("x")
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = ((steps - int(zero)) * scale).astype(np.float32)
        return self.quantize(name, (scale, zero))

    def quantize(self, value, grid):
        """Quantise, dequantise; gives the dequantised value."""
        scale, zero = (self.constant(a) for a in grid)
        stored = self.node("QuantizeLinear", [value, scale, zero])
        name = self.node("DequantizeLinear", [stored, scale, zero])
        self.scales[name] = float(grid[0])
        return name

    def weights(self, *shape, axis=0, dtype="int8", spread=True):
        """Dequantised int8 weights, symmetric."""
        steps = self.rng.integers(-127, 128, shape)
        count = shape[axis] if spread else 1
        scale = self.rng.uniform(0.002, 0.02, count).astype(np.float32)
        middle = 128 if dtype == "uint8" else 0
        zero = np.full(count, middle, dtype)
        attrs = {"axis": axis} if spread else {}
        if not spread:
            scale, zero = scale[0], zero[0]
        names = [self.constant(a) for a in ((steps + middle).astype(dtype), scale, zero)]
        return self.node("DequantizeLinear", names, **attrs), scale

    def bias(self, scale, count):
        """Dequantised int32 bias."""
        steps = self.rng.integers(-3000, 3000, count).astype(np.int32)
        scale = np.broadcast_to(np.asarray(scale, np.float32), (count,)).copy()
        names = [self.constant(a) for a in (steps, scale, np.zeros(count, np.int32))]
        return self.node("DequantizeLinear", names, axis=0)

    def fitting(self, value, dtype=None):
        """A grid that covers most of what the float ops so far give."""
        found = self._run([value])[0]
        low, high = np.quantile(found, [0.02, 0.98])
        low, high = min(low, 0.0), max(high, 1e-3)
        dtype = dtype or str(self.rng.choice(["int8", "uint8"]))
        limits = np.iinfo(dtype)
        scale = np.float32((high - low) / 255)
        zero = np.clip(limits.min - np.rint(low / scale), limits.min, limits.max)
        return scale, np.array(zero, dtype)

    def model(self, outputs):
        infos = [helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs]
        graph = helper.make_graph(self.nodes, "qdq", self.inputs, infos, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _run(self, outputs):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            self.model(outputs).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, self.feeds)

    def conv(self, x, shape, channels, kernel, *, act="", dtype=None, **attrs):
        """A convolution, its activation and quantisation."""
        groups = attrs.get("group", 1)
        spread = bool(self.rng.integers(2))
        kind = str(self.rng.choice(["int8", "uint8"]))
        w, scale = self.weights(channels, shape[1] // groups, *kernel, dtype=kind, spread=spread)
        inputs = [x, w]
        if self.rng.integers(2):
            inputs.append(self.bias(self.scales[x] * scale, channels))
        y = self.node("Conv", inputs, **attrs)
        y = self.act(y, act)
        return self.quantize(y, self.fitting(y, dtype))

    def act(self, y, act):
        if act == "Clip":
            return self.node(
                "Clip", [y, self.constant(np.float32(0)), self.constant(np.float32(6))]
            )
        return self.node(act, [y]) if act else y


def programs(monkeypatch):
    """The programs of what is compiled from now on."""
    found = []
    compile_segment = dnnl_compile.compile_segment

    def watch(segment, options):
        artifact = compile_segment(segment, options)
        found.append(json.loads(artifact.blob))
        return artifact

    monkeypatch.setattr(dnnl_compile, "compile_segment", watch)
    return found


def check(q, outputs, monkeypatch, *, steps=1, kinds=()):
    """Compile for dnnl alone; outputs are dequantised values. kinds: integer ops expected."""
    found = programs(monkeypatch)
    compiled = byoc.compile(q.model(outputs), ["dnnl"])
    assert len(found) == 1
    used = [op["kind"] for op in found[0]["ops"]]
    for kind in kinds:
        assert kind in used, used
    result = compiled(*q.feeds.values())
    result = result if isinstance(result, (list, tuple)) else [result]
    for value, got, want in zip(outputs, result, q._run(outputs), strict=True):
        got = np.asarray(got)
        assert got.shape == want.shape
        off = np.abs(got - want) / q.scales[value]
        assert off.max() <= steps + 1e-3, (value, off.max())
        assert (off > 0.5).mean() < 0.02 * steps, (value, (off > 0.5).mean())
        assert len(np.unique(want)) > min(8, want.size) // 2
    return used


def _convolution(seed):
    """A random convolution: (its Qdq, result)."""
    q = Qdq(seed)
    rng = q.rng
    dims = int(rng.choice([1, 2, 2, 2, 3]))
    kind = str(rng.choice(["dense", "dense", "depthwise", "groups"]))
    groups = {"dense": 1, "depthwise": int(rng.choice([5, 16, 33])), "groups": 2}[kind]
    per_group = 1 if kind == "depthwise" else int(rng.choice([1, 3, 8, 16, 24]))
    channels = groups * (1 if kind == "depthwise" else int(rng.choice([4, 7, 16, 32])))
    kernel = [int(k) for k in rng.choice([1, 2, 3, 5], dims)]
    dilation = [int(d) for d in rng.choice([1, 1, 2], dims)]
    size = [int(rng.integers(6, 15)) for _ in range(dims)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [max(s, e) for s, e in zip(size, extent, strict=True)]
    pads = [int(rng.integers(0, e)) for e in extent + extent]
    shape = [int(rng.integers(1, 3)), groups * per_group, *size]
    x = q.input(*shape)
    act = str(rng.choice(["", "Relu", "Clip"]))
    y = q.conv(
        x, shape, channels, kernel, act=act, group=groups, kernel_shape=kernel, pads=pads,
        strides=[int(s) for s in rng.choice([1, 2], dims)], dilations=dilation,
    )  # fmt: skip
    return q, y


@pytest.mark.parametrize("seed", range(40))
def test_random_convolutions(seed, monkeypatch):
    q, y = _convolution(seed)
    used = check(q, [y], monkeypatch, kinds=["qconvolution"])
    assert "convolution" not in used


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 400))
def test_more_random_convolutions(seed, monkeypatch):
    test_random_convolutions(seed, monkeypatch)


@pytest.mark.parametrize("seed", range(12))
def test_random_matrix_products(seed, monkeypatch):
    q = Qdq(seed)
    rng = q.rng
    k, n = int(rng.choice([3, 16, 70])), int(rng.choice([1, 5, 32, 65]))
    shape = [int(rng.integers(1, 9)) for _ in range(int(rng.integers(1, 4)))] + [k]
    x = q.input(*shape)
    transposed = len(shape) == 2 and bool(rng.integers(2))
    spread, dtype = bool(rng.integers(2)), str(rng.choice(["int8", "uint8"]))
    size, axis = ((n, k), 0) if transposed else ((k, n), 1)
    w, scale = q.weights(*size, axis=axis, dtype=dtype, spread=spread)
    bias = q.bias(q.scales[x] * scale, n)
    if transposed:
        y = q.node("Gemm", [x, w, bias], transB=1)
    else:
        y = q.node("Add", [q.node("MatMul", [x, w]), bias])
    y = q.act(y, str(rng.choice(["", "Relu"])))
    y = q.quantize(y, q.fitting(y))
    used = check(q, [y], monkeypatch, kinds=["qmatmul"])
    assert "matmul" not in used


@pytest.mark.parametrize("seed", range(8))
def test_residual_sums_join_the_convolution(seed, monkeypatch):
    """Both values are rounded to their own grids before they are added."""
    q = Qdq(seed)
    shape = [2, 16, 9, 8]
    same = ["uint8", "int8"][seed % 2]
    a = q.conv(q.input(*shape), shape, 16, [3, 3], act="Relu", dtype=same, pads=[1] * 4)
    c = q.conv(a, shape, 16, [1, 1], dtype=same if seed < 4 else None)
    y = q.act(q.node("Add", [c, a] if seed % 3 else [a, c]), ["Relu", ""][seed % 2])
    y = q.quantize(y, q.fitting(y, same))
    outputs = [y, a] if seed % 4 == 3 else [y]
    used = check(q, outputs, monkeypatch, steps=2, kinds=["qconvolution"])
    assert "binary" not in used
    assert used.count("qconvolution") == 2


def test_saturation_between_convolution_and_sum_is_kept(monkeypatch):
    q = Qdq(3)
    shape = [1, 8, 6, 6]
    a = q.input(*shape, grid=q.grid("int8", 0.02, 0))
    w, _ = q.weights(8, 8, 1, 1)
    narrow = q.quantize(q.node("Conv", [a, w]), q.grid("int8", 0.004, 5))  # most values saturate
    y = q.node("Add", [narrow, a])
    check(q, [q.quantize(y, q.fitting(y))], monkeypatch, kinds=["qconvolution"])


@pytest.mark.parametrize("seed", range(4))
def test_sums_of_inputs(seed, monkeypatch):
    q = Qdq(seed)
    a, b = q.input(2, 5, 7, 3), q.input(2, 5, 7, 3)
    y = q.act(q.node("Add", [a, b]), ["Relu", ""][seed % 2])
    check(q, [q.quantize(y, q.fitting(y))], monkeypatch, kinds=["qadd"])


@pytest.mark.parametrize("same", [True, False])
def test_moves_stay_integers(same, monkeypatch):
    """Max pool, concat, transpose, slice and reshape between quantisations."""
    q = Qdq(5)
    shape = [1, 8, 12, 10]
    x = q.conv(q.input(*shape), shape, 16, [3, 3], dtype="int8", pads=[1, 1, 1, 1])
    first = q.nodes[-1].input[1:]
    grid = [next(numpy_helper.to_array(c) for c in q.constants if c.name == n) for n in first]

    def stored(value):
        return q.quantize(value, tuple(grid) if same else q.grid("uint8", grid[0] * 1.3, 120))

    pooled = stored(q.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    both = stored(q.node("Concat", [pooled, pooled], axis=1))
    turned = stored(q.node("Transpose", [both], perm=[0, 2, 3, 1]))
    bounds = [q.constant(np.array(v, np.int64)) for v in ([1], [5], [1])]
    cut = stored(q.node("Slice", [turned, *bounds]))
    flat = stored(q.node("Reshape", [cut, q.constant(np.array([1, -1], np.int64))]))
    w, _ = q.weights(4 * 5 * 32, 6, axis=1)
    y = q.node("MatMul", [flat, w])
    y = q.quantize(y, q.fitting(y))
    used = check(q, [y], monkeypatch, steps=1, kinds=["qmatmul", "pooling", "concat"])
    # Floats at the ends only: in, and out.
    assert used.count("quantize") == used.count("dequantize") == 1
    assert ("requantize" in used) == (not same)


def test_floats_between_stay_floats(monkeypatch):
    q = Qdq(9)
    shape = [1, 8, 6, 6]
    x = q.conv(q.input(*shape), shape, 16, [3, 3])
    y = q.node("GlobalAveragePool", [x])
    y = q.quantize(y, q.fitting(y))
    z = q.node("Softmax", [q.node("Flatten", [y])], axis=1)
    used = check(q, [q.quantize(z, q.fitting(z))], monkeypatch, steps=2, kinds=["softmax"])
    assert used.count("dequantize") == 3


@pytest.mark.parametrize("zero", [3, 128])
def test_asymmetric_weights_are_computed_as_floats(zero, monkeypatch):
    q = Qdq(2)
    x = q.input(1, 4, 6, 6)
    arrays = (q.rng.integers(0, 255, (8, 4, 3, 3)).astype(np.uint8), np.float32(0.01),
              np.uint8(zero))  # fmt: skip
    w = q.node("DequantizeLinear", [q.constant(a) for a in arrays])
    y = q.node("Conv", [x, w])
    y = q.quantize(y, q.fitting(y))
    check(q, [y], monkeypatch, kinds=["qconvolution" if zero == 128 else "convolution"])


def test_unfused_programs_give_the_same(monkeypatch):
    q, y = _convolution(1)
    found = programs(monkeypatch)
    compiled = byoc.compile(q.model([y]), {"dnnl": {"fuse": False}})
    assert "qconvolution" not in [op["kind"] for op in found[0]["ops"]]
    got, want = np.asarray(compiled(*q.feeds.values())), q._run([y])[0]
    assert np.abs(got - want).max() <= q.scales[y] * 1.001


def test_several_scales_on_an_activation_are_refused():
    q = Qdq(0)
    name = "x"
    q.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 5, 5]))
    scale, zero = q.constant(np.float32([1, 2, 3, 4])), q.constant(np.zeros(4, np.int8))
    stored = q.node("QuantizeLinear", [name, scale, zero], axis=1)
    y = q.node("DequantizeLinear", [stored, scale, zero], axis=1)
    report = byoc.compile(q.model([y]), ["dnnl"]).report
    assert "only constants may have more than one" in str(report.to_json())


def _small_net():
    """conv, depthwise, residual sum, pools, dense: a float model."""
    rng = np.random.default_rng(4)

    def weight(name, *shape):
        scale = np.sqrt(2 / max(1, np.prod(shape[1:])))
        array = (rng.standard_normal(shape) * scale).astype(np.float32)
        return numpy_helper.from_array(array, name)

    constants = [weight("w0", 16, 3, 3, 3), weight("b0", 16), weight("w1", 16, 1, 3, 3),
                 weight("w2", 16, 16, 1, 1), weight("w3", 16, 10), weight("b3", 10)]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "c0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "r0"),
        helper.make_node("MaxPool", ["r0"], ["p0"], "p0", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p0", "w1"], ["c1"], "c1", pads=[2, 1, 0, 1], group=16),
        helper.make_node("Relu", ["c1"], ["r1"], "r1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "c2"),
        helper.make_node("Add", ["c2", "p0"], ["a2"], "a2"),
        helper.make_node("Relu", ["a2"], ["r2"], "r2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], "g"),
        helper.make_node("Flatten", ["g"], ["f"], "f"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "y"),
    ]
    shape = ["n", 3, 16, 12]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("activations", ["QUInt8", "QInt8"])
def test_models_quantised_by_onnx_runtime(activations, tmp_path, monkeypatch):
    from onnxruntime import quantization as ortq

    class Samples(ortq.CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(1)
            self.left = [rng.standard_normal((2, 3, 16, 12)).astype(np.float32) for _ in range(4)]

        def get_next(self):
            return {"x": self.left.pop()} if self.left else None

    onnx.save(_small_net(), tmp_path / "net.onnx")
    path = tmp_path / "q.onnx"
    ortq.quantize_static(
        tmp_path / "net.onnx", path, Samples(), quant_format=ortq.QuantFormat.QDQ, per_channel=True,
        activation_type=getattr(ortq.QuantType, activations), weight_type=ortq.QuantType.QInt8,
    )  # fmt: skip
    found = programs(monkeypatch)
    compiled = byoc.compile(path, ["dnnl"])
    used = [op["kind"] for op in found[0]["ops"]]
    assert used.count("qconvolution") == 3 and used.count("qmatmul") == 1
    assert not {"convolution", "matmul", "binary"} & set(used), used
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for batch in (1, 3):  # the batch is symbolic
        x = np.random.default_rng(batch).standard_normal((batch, 3, 16, 12)).astype(np.float32)
        want = session.run(None, {"x": x})[0]
        got = np.asarray(compiled(x))
        assert np.abs(got - want).max() <= 0.02 * np.abs(want).max()


def test_a_damaged_grid_is_refused(monkeypatch):
    q, y = _convolution(0)
    artifacts = []
    compile_segment = dnnl_compile.compile_segment
    monkeypatch.setattr(
        dnnl_compile,
        "compile_segment",
        lambda *a: artifacts.append(compile_segment(*a)) or artifacts[-1],
    )
    byoc.compile(q.model([y]), ["dnnl"])
    text = artifacts[0].blob.decode()
    for old, new, message in (
        ('"y_scale":', '"y_scale":-', "y_scale is -"),
        ('"x_zero":', '"zero_x":', "attribute 'x_zero' is missing"),
    ):
        assert old in text
        broken = SimpleNamespace(
            blob=text.replace(old, new, 1).encode(), constants=artifacts[0].constants
        )
        with pytest.raises(RuntimeError, match=message):
            load(broken)
