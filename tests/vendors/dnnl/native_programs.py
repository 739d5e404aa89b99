"""Hand-written programs for the native half: write one op by op, run it, compare with numpy."""

import json
from types import SimpleNamespace

import numpy as np
import tvm_ffi
from interpret import interpret

from byoc.dims import evaluate, is_name
from byoc.runtime.vendor_runtimes import load_native
from byoc.vendor_templates.dnnl import VENDOR


class Writer:
    """Writes a program: `x = w.input(1, 8, 7, 7); y = w.op("softmax", [x], shape, axis=1)`."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.values, self.ops, self.inputs, self.outputs, self.arrays = [], [], [], [], []
        self.constants = {}

    def value(self, shape, dtype="float32"):
        self.values.append({"shape": list(shape), "dtype": dtype})
        return len(self.values) - 1

    def input(self, *shape, dtype="float32"):
        self.inputs.append(self.value(shape, dtype))
        return self.inputs[-1]

    def constant(self, array):
        array = np.ascontiguousarray(array)
        value = self.value(array.shape, array.dtype.name)
        self.constants[str(value)] = len(self.arrays)
        self.arrays.append(array)
        return value

    def weight(self, *shape):
        """A random constant, scaled so that sums over it stay near one."""
        fan_in = max(1, int(np.prod(shape[1:])))
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(fan_in)).astype("float32"))

    def positive(self, *shape):
        return self.constant((self.rng.random(shape) + 0.5).astype("float32"))

    def op(self, kind, inputs, shape, post=(), dtype="float32", **attrs):
        """Append an op with one output; its value."""
        result = self.value(shape, dtype)
        self._append(kind, inputs, [result], post, attrs)
        return result

    def split(self, x, parts, axis):
        shape = self.shape(x)
        results = [self.value([*shape[:axis], n, *shape[axis + 1 :]]) for n in parts]
        self._append("split", [x], results, (), {"axis": axis})
        return results

    def _append(self, kind, inputs, outputs, post, attrs):
        source = f"{kind}.{len(self.ops)}"
        self.ops.append(
            {"kind": kind, "inputs": list(inputs), "outputs": outputs, "attrs": attrs,
             "post": list(post), "source": source}
        )  # fmt: skip

    def shape(self, value):
        return self.values[value]["shape"]

    def conv(self, x, channels, kernel=3, stride=1, groups=1, bias=True, post=()):
        n, c, h, w = self.shape(x)
        pad = kernel // 2
        size = [(s + 2 * pad - kernel) // stride + 1 for s in (h, w)]
        operands = [x, self.weight(channels, c // groups, kernel, kernel)]
        if bias:
            operands.append(self.weight(channels))
        return self.op(
            "convolution", operands, [n, channels, *size], post, strides=[stride] * 2,
            dilations=[1, 1], pads_begin=[pad] * 2, pads_end=[pad] * 2, groups=groups,
        )  # fmt: skip

    def eltwise(self, x, alg, alpha=0.0, beta=0.0):
        return self.op("eltwise", [x], self.shape(x), alg=alg, alpha=alpha, beta=beta)

    def finish(self, *outputs):
        """The artifact; an output that is an input or a constant gets the op it must have."""
        made = {v for op in self.ops for v in op["outputs"]}
        self.outputs = [v if v in made else self.op("reshape", [v], self.shape(v)) for v in outputs]
        blob = {
            "version": 1, "fpmath": "strict", "instances": 4, "values": self.values,
            "inputs": self.inputs, "outputs": self.outputs, "constants": self.constants,
            "ops": self.ops,
        }  # fmt: skip
        return SimpleNamespace(blob=json.dumps(blob).encode(), constants=tuple(self.arrays))


def relu(alpha=0.0):
    return {"post": "eltwise", "alg": "relu", "alpha": alpha, "beta": 0.0}


def binary(alg, value):
    return {"post": "binary", "alg": alg, "value": value}


def _tensors(arrays):
    return [tvm_ffi.from_dlpack(a if a.flags.writeable else a.copy()) for a in arrays]


def load(artifact):
    """The artifact as ``execute(inputs..., outputs...)`` of tensors."""
    return load_native("dnnl", VENDOR.runtime)(artifact.blob, _tensors(artifact.constants), "{}")


def _env(program, inputs):
    return {
        dim: size
        for value, array in zip(program["inputs"], inputs, strict=True)
        for dim, size in zip(program["values"][value]["shape"], array.shape, strict=True)
        if is_name(dim)
    }


def run(execute, artifact, inputs):
    """Outputs for a list of arrays; they start as garbage, so that unwritten ones show."""
    program = json.loads(artifact.blob)
    env = _env(program, inputs)
    types = [program["values"][v] for v in program["outputs"]]
    outputs = [np.full([evaluate(d, env) for d in t["shape"]], 77, t["dtype"]) for t in types]
    execute(*_tensors(inputs), *_tensors(outputs))
    return outputs


def steps(artifact, variables=()):
    """The steps oneDNN was told to run: dicts of op, impl, detail."""
    load_native("dnnl", VENDOR.runtime)
    describe = tvm_ffi.get_global_func("byoc.vendor.dnnl.describe")
    text = describe(artifact.blob, _tensors(artifact.constants), list(variables))
    return json.loads(text)["steps"]


def random_arrays(artifact, seed=0, **env):
    program = json.loads(artifact.blob)
    rng = np.random.default_rng(seed)
    shapes = [[evaluate(d, env) for d in program["values"][v]["shape"]] for v in program["inputs"]]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def check(artifact, seeds=(0,), tolerance=2e-5, **env):
    """Run natively and in numpy, twice each (a second call must not see the first), compare.

    The judge computes in float64. A graph may magnify roundings (a norm over values that are almost
    alike); how much, a second run tells in which every value is moved by a few roundings.
    """
    execute = load(artifact)
    for seed in (*seeds, seeds[0]):
        inputs = random_arrays(artifact, seed, **env)
        exact = interpret(artifact, inputs, wide=True)
        moved = interpret(artifact, inputs, wide=True, noise=5e-7)
        for found, want, other in zip(run(execute, artifact, inputs), exact, moved, strict=True):
            scale = max(1.0, float(np.abs(want).max(initial=0)))
            atol = max(tolerance, 4 * float(np.abs(other - want).max(initial=0)) / scale)
            np.testing.assert_allclose(found / scale, want / scale, rtol=tolerance, atol=atol)
