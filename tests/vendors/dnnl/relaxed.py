"""Relax functions for tests: build them, see one as a Segment, run them with TVM alone."""

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from byoc.errors import VendorError
from byoc.partition import segment_from_function
from byoc.runtime.vendor_runtimes import load_native
from byoc.vendor_templates.dnnl import VENDOR


def relax_module(functions):
    """A module with a function for each name → (build, inputs).

    build: (vars) → expression, or a list of several results; inputs: shape or (shape, dtype) each,
    dims may be names.
    """
    builder = relax.BlockBuilder()
    for name, (build, inputs) in functions.items():
        types = [i if i and isinstance(i[0], tuple) else (i, "float32") for i in inputs]
        names = sorted({d for shape, _ in types for d in shape if isinstance(d, str)})
        symbols = {n: tvm.tirx.Var(n, "int64") for n in names}
        params = [
            relax.Var(f"x{k}", relax.TensorType([symbols.get(d, d) for d in shape], dtype))
            for k, (shape, dtype) in enumerate(types)
        ]
        with builder.function(name, params):
            with builder.dataflow():
                result = build(*params)
                result = result if isinstance(result, (list, tuple)) else [result]
                outs = [builder.emit_output(builder.normalize(r)) for r in result]
            builder.emit_func_output(outs[0] if len(outs) == 1 else relax.Tuple(outs))
    return builder.get()


def as_segment(func, name="dnnl_0"):
    """The whole of a function as one segment; every op must fit a pattern of the vendor."""
    return segment_from_function(func, VENDOR, name)


class Reference:
    """TVM's own kernels for every function of a module, compiled at once."""

    def __init__(self, mod):
        target = tvm.target.Target({"kind": "llvm", "opt-level": 1})
        self._vm = relax.VirtualMachine(tvm.compile(mod, target), tvm.cpu())

    def __call__(self, name, inputs):
        result = self._vm[name](*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
        if isinstance(result, tvm.runtime.Tensor):
            return [result.numpy()]
        return [r.numpy() for r in result]


def random_inputs(segment, seed, env=None):
    """Normal floats, small non-negative ints, for a segment's inputs."""
    rng = np.random.default_rng(seed)
    arrays = []
    for value in segment.inputs:
        kind = segment.type(value)
        shape = [d if isinstance(d, int) else env[d] for d in kind.shape]
        if kind.dtype == "float32":
            arrays.append(rng.standard_normal(shape).astype("float32"))
        elif kind.dtype == "bool":
            arrays.append(rng.random(shape) < 0.5)
        else:
            arrays.append(rng.integers(0, 3, shape).astype(kind.dtype))
    return arrays


def find_native():
    """The vendor's native ``init``; None where the library was not built."""
    try:
        return load_native(VENDOR.name, VENDOR.runtime)
    except VendorError:
        return None


def run_native(init, artifact, inputs, like):
    """Outputs of an artifact on oneDNN; `like`: arrays of their shapes and dtypes."""
    constants = [tvm_ffi.from_dlpack(_aligned(np.asarray(c))) for c in artifact.constants]
    execute = init(artifact.blob, constants, "{}")
    outputs = [_aligned(np.full_like(e, 77)) for e in like]
    execute(*[tvm_ffi.from_dlpack(_aligned(a)) for a in (*inputs, *outputs)])
    return outputs


def _aligned(array):
    """The array at a multiple of 64 bytes; itself when it is there and writable."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.ctypes.data % 64 == 0 and array.flags.writeable:
        return array
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
