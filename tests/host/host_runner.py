"""Run a lowered module in plain Python: what the runtime does, without it."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from byoc import host


def module(build, *inputs):
    """A module whose main applies `build` to variables of the inputs' (shape, dtype)."""
    params = [
        relax.Var(f"x{i}", relax.TensorType(shape, dtype))
        for i, (shape, dtype) in enumerate(inputs)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            result = build(builder, *params)
            result = builder.emit_output(result)
        builder.emit_func_output(result)
    return builder.get()


def _empty(ty):
    if isinstance(ty, relax.TupleType):
        return tuple(_empty(field) for field in ty.fields)
    return tvm.runtime.empty([int(d) for d in ty.shape.values], str(ty.dtype))


class Compiled:
    """A lowered module, built; call it with numpy arrays."""

    def __init__(self, mod, threads=2):
        self.lowered = host.lower(mod, threads=threads)
        self.notes = self.lowered.notes
        self.library = host.build(self.lowered.kernels, threads=threads)

    def __call__(self, *arrays):
        main, env = self.lowered.main, {}
        for param, array in zip(main.params, arrays, strict=True):
            env[param] = tvm.runtime.tensor(np.ascontiguousarray(array))

        def value(expr):
            if isinstance(expr, relax.Tuple):
                return tuple(value(field) for field in expr.fields)
            if isinstance(expr, relax.TupleGetItem):
                return value(expr.tuple_value)[expr.index]
            return env[expr] if isinstance(expr, relax.Var) else expr.value

        for block in main.body.blocks:
            for binding in block.bindings:
                var, bound = binding.var, binding.value
                name = getattr(getattr(bound, "op", None), "name", "")
                if name == "relax.call_tir":
                    out = env[var] = _empty(var.ty)
                    outs = out if isinstance(out, tuple) else (out,)
                    self.library.module[bound.args[0].name_hint](*value(bound.args[1]), *outs)
                elif name == "relax.reshape":
                    shape = [int(d) for d in var.ty.shape.values]
                    env[var] = value(bound.args[0])._create_view(shape)
                else:
                    env[var] = value(bound)
        result = value(main.body.body)
        return tuple(r.numpy() for r in result) if isinstance(result, tuple) else result.numpy()
