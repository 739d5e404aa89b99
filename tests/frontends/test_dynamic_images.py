"""Networks over images of any height and width, on the host and on dnnl, against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import byoc

ort = pytest.importorskip("onnxruntime")
FLOAT = onnx.TensorProto.FLOAT


class _Net:
    """Nodes as they come, with seeded weights."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.stored = [], []

    def node(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{name}", **attrs))
        return name

    def constant(self, value):
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, x, inner, outer, kernel=3, stride=1, act="Relu"):
        shape = (outer, inner, kernel, kernel)
        weight = self.rng.standard_normal(shape) * (1.4 / np.sqrt(inner * kernel * kernel))
        bias = self.constant((self.rng.standard_normal(outer) * 0.1).astype("f"))
        y = self.node("Conv", x, self.constant(weight.astype("f")), bias, strides=[stride] * 2,
                      pads=[kernel // 2] * 4)  # fmt: skip
        if act == "SiLU":
            return self.node("Mul", y, self.node("Sigmoid", y))
        return self.node(act, y) if act else y

    def size(self, x):
        """Height and width, as exporters read them."""
        ends = self.constant(np.array([2])), self.constant(np.array([4]))
        return self.node("Slice", self.node("Shape", x), *ends)

    def resized_like(self, x, other, mode, **attrs):
        ends = self.constant(np.array([0])), self.constant(np.array([2]))
        front = self.node("Slice", self.node("Shape", x), *ends)
        sizes = self.node("Concat", front, self.size(other), axis=0)
        return self.node("Resize", x, "", "", sizes, mode=mode, **attrs)

    def doubled(self, x):
        return self.node("Resize", x, "", self.constant(np.array([1, 1, 2, 2], "f")),
                         mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")  # fmt: skip

    def model(self, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", FLOAT, ["batch", 3, "height", "width"])],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self.stored,
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _yolo():
    """Two scales, SPPF, upsampling, a head over all places with anchors made of the shape."""
    net = _Net(1)
    a = net.conv("x", 3, 8, stride=2, act="SiLU")
    b = net.conv(a, 8, 16, stride=2, act="SiLU")
    pooled = [b]
    for _ in range(2):
        pooled.append(
            net.node("MaxPool", pooled[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)
        )
    b = net.conv(net.node("Concat", *pooled, axis=1), 48, 16, 1, act="SiLU")
    a = net.conv(net.node("Concat", net.doubled(b), a, axis=1), 24, 8, act="SiLU")
    places = []
    for level, channels, stride in ((a, 8, 2), (b, 16, 4)):
        head = net.conv(level, channels, 6, 1, act=None)
        flat = net.node("Reshape", head, net.constant(np.array([0, 6, -1])))
        size = net.size(level)
        ends = [net.node("Gather", size, net.constant(np.array(i))) for i in (0, 1)]
        zero, one = net.constant(np.array(0)), net.constant(np.array(1))
        rows, columns = (
            net.node("Cast", net.node("Range", zero, end, one), to=FLOAT) for end in ends
        )
        grid = net.node("Add", net.node("Unsqueeze", rows, net.constant(np.array([1]))),
                        net.node("Mul", columns, net.constant(np.float32(0.01))))  # fmt: skip
        grid = net.node("Reshape", grid, net.constant(np.array([1, 1, -1])))
        anchored = net.node("Add", flat, grid)
        places.append(net.node("Mul", anchored, net.constant(np.float32(stride))))
    joined = net.node("Concat", *places, axis=2)
    boxes, scores = (
        net.node("Slice", joined, *(net.constant(np.array([i])) for i in ends))
        for ends in ((0, 4, 1), (4, 6, 1))
    )
    return net.model(net.node("Transpose", boxes, perm=[0, 2, 1]), net.node("Sigmoid", scores))


def _unet():
    """Skips of odd sizes: what comes up is resized to the skip's size, then joined with it."""
    net = _Net(2)
    skips, x, channels = [], "x", 3
    for wide in (8, 16):
        x = net.conv(x, channels, wide)
        skips.append((x, wide))
        x, channels = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), wide
    x, channels = net.conv(x, 16, 32), 32
    for skip, wide in reversed(skips):
        x = net.resized_like(x, skip, "linear", coordinate_transformation_mode="half_pixel")
        x = net.conv(net.node("Concat", skip, x, axis=1), channels + wide, wide)
        channels = wide
    return net.model(net.conv(x, 8, 2, 1, act="Sigmoid"))


def _super_resolution():
    """Depth to space, added to the image resized by a cubic."""
    net = _Net(3)
    x = net.conv("x", 3, 16, 5)
    x = net.conv(x, 16, 12, act=None)
    x = net.node("DepthToSpace", x, blocksize=2, mode="CRD")
    scales = net.constant(np.array([1, 1, 2, 2], "f"))
    image = net.node("Resize", "x", "", scales, mode="cubic", cubic_coeff_a=-0.5)
    return net.model(net.node("Clip", net.node("Add", x, image), net.constant(np.float32(-2)),
                              net.constant(np.float32(2))))  # fmt: skip


def _fpn():
    """Lateral connections, top down by the sizes of the level below; the levels are outputs."""
    net = _Net(4)
    levels, x, channels = [], "x", 3
    for wide in (8, 16, 32):
        x = net.conv(x, channels, wide, stride=2)
        levels.append(net.conv(x, wide, 8, 1, act=None))
        channels = wide
    outputs, above = [], None
    for level in reversed(levels):
        if above is not None:
            up = net.resized_like(above, level, "nearest", nearest_mode="floor",
                                  coordinate_transformation_mode="asymmetric")  # fmt: skip
            level = net.node("Add", level, up)
        above = level
        outputs.append(net.conv(level, 8, 8, act=None))
    return net.model(*outputs)


_NETS = {"yolo": _yolo, "unet": _unet, "super resolution": _super_resolution, "fpn": _fpn}
_SIZES = ((1, 16, 16), (2, 20, 12), (1, 32, 8), (1, 12, 36), (3, 8, 24))
_COVERED = {"yolo": 0.8, "unet": 0.99, "super resolution": 0.9, "fpn": 0.99}
_ODD = ((1, 17, 13), (1, 9, 30), (2, 11, 8))


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
@pytest.mark.parametrize("name", _NETS)
def test_right_at_every_size(name, vendors):
    model = _NETS[name]()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    reference = ort.InferenceSession(model.SerializeToString(), options)
    exe = byoc.compile(model, vendors=vendors)
    rng = np.random.default_rng(0)
    for batch, height, width in (*_SIZES, *(_ODD if name != "yolo" else ())):
        x = rng.standard_normal((batch, 3, height, width)).astype("f")
        for want, got in zip(
            reference.run(None, {"x": x}), exe.run({"x": x}).values(), strict=True
        ):
            assert want.shape == got.shape
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-4)
    if vendors:
        assert exe.report.coverage.ops > _COVERED[name]
