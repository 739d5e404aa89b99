"""Small float models, quantised here, for whole-vendor tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A float ONNX model written op by op."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shape, self.nodes, self.constants, self.last = shape, [], [], "x"

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind, inputs=None, *constants, **attrs):
        name = f"t{len(self.nodes)}"
        inputs = [self.last] if inputs is None else inputs
        names = [*inputs, *(self.constant(c) for c in constants)]
        self.nodes.append(helper.make_node(kind, names, [name], name=f"{kind}_{name}", **attrs))
        self.last = name
        return name

    def conv(self, i, o, k, inputs=None, groups=1, bias=True, **attrs):
        scale = 1.4 / np.sqrt(k * k * i / groups)
        w = (self.rng.standard_normal((o, i // groups, k, k)) * scale).astype(np.float32)
        b = [self.rng.standard_normal(o).astype(np.float32) * 0.2] if bias else []
        attrs.setdefault("pads", [k // 2] * 4)
        return self.op("Conv", inputs, w, *b, group=groups, **attrs)

    def gemm(self, i, o):
        w = (self.rng.standard_normal((o, i)) / np.sqrt(i)).astype(np.float32)
        b = self.rng.standard_normal(o).astype(np.float32) * 0.1
        return self.op("Gemm", None, w, b, transB=1)

    def model(self, *outputs):
        outputs = outputs or (self.last,)
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_empty_tensor_value_info(o) for o in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model


def residual_net():
    """Convolutions, depthwise, strides, a residual, activations, pools, concat, a classifier."""
    net = Net([1, 3, 19, 17])
    net.conv(3, 16, 3)
    first = net.op("Relu")
    net.conv(16, 16, 3, groups=16)
    net.op("Clip", [net.last], np.float32(0), np.float32(6))
    body = net.conv(16, 16, 1, bias=False)
    net.op("Add", [body, first])
    net.op("Relu")
    pooled = net.op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    left = net.conv(16, 24, 3, [pooled], strides=[1, 1], dilations=[2, 2], pads=[2, 2, 2, 2])
    right = net.conv(16, 8, 1, [pooled])
    right = net.op("Sigmoid", [right])
    net.op("Concat", [left, right], axis=1)
    net.conv(32, 32, 3, groups=4, strides=[2, 2])
    net.op("AveragePool", kernel_shape=[2, 2], strides=[1, 1])
    net.op("GlobalAveragePool")
    net.op("Flatten")
    net.gemm(32, 10)
    return net.model()


def samples(model, count, seed=1):
    rng = np.random.default_rng(seed)
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return rng.standard_normal((count * dims[0], *dims[1:])).astype(np.float32)
