"""Relax functions for tests: build one, see it as a Segment, run it with TVM alone."""

import numpy as np
import tvm
from byoc.partition.decode import Decoder
from byoc.partition.graph import OpGraph
from byoc.segment import Segment
from tvm import relax


def relax_module(build, *inputs):
    """A module whose main is ``build(*vars)``; `inputs`: (shape, dtype) or shape each."""
    types = [i if i and isinstance(i[0], tuple) else (i, "float32") for i in inputs]
    names = sorted({d for shape, _ in types for d in shape if isinstance(d, str)})
    symbols = {n: tvm.tirx.Var(n, "int64") for n in names}
    params = [
        relax.Var(f"x{k}", relax.TensorType([symbols.get(d, d) for d in shape], dtype))
        for k, (shape, dtype) in enumerate(types)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            result = build(*params)
            result = result if isinstance(result, (list, tuple)) else [result]
            outs = [builder.emit_output(builder.normalize(r)) for r in result]
        builder.emit_func_output(outs[0] if len(outs) == 1 else relax.Tuple(outs))
    return builder.get()


def as_segment(mod, name="dnnl_0"):
    """The whole of main as one segment."""
    func = mod["main"]
    graph = OpGraph(func, "main", Decoder())
    nodes = tuple(graph.node(i) for i in range(len(graph)))
    count = len(graph.producer)
    from byoc.segment import TensorType

    values = tuple(graph.type(v) or TensorType((), "float32") for v in range(count))
    constants = {v: graph.array(v) for v in graph.constants}
    used = {v for n in nodes for v in n.inputs}
    inputs = tuple(range(len(func.params)))
    outputs = [v for v in range(count) if -1 in graph.users[v] and v not in graph.fields]
    body = func.body.body
    if isinstance(body, tvm.ir.Tuple):
        handles = [graph._refs[f.__chandle__()] for f in body.fields]
        outputs = [r if isinstance(r, int) else r[0] for r in handles]
    assert used or True
    return Segment(name, "dnnl", values, nodes, (), inputs, tuple(outputs), constants)


def run_tvm(mod, inputs):
    """Outputs of main, computed by TVM's own kernels."""
    vm = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())
    result = vm["main"](*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
    if isinstance(result, tvm.runtime.Tensor):
        return [result.numpy()]
    return [r.numpy() for r in result]


def random_inputs(mod, seed, env=None):
    """Normal floats, small non-negative ints, for main's parameters."""
    rng = np.random.default_rng(seed)
    arrays = []
    for param in mod["main"].params:
        shape = [int(d) if not hasattr(d, "name") else env[d.name] for d in param.ty.shape]
        dtype = str(param.ty.dtype.dtype if hasattr(param.ty.dtype, "dtype") else param.ty.dtype)
        if dtype.startswith("float"):
            arrays.append(rng.standard_normal(shape).astype(dtype))
        elif dtype == "bool":
            arrays.append(rng.random(shape) < 0.5)
        else:
            arrays.append(rng.integers(0, 3, shape).astype(dtype))
    return arrays
