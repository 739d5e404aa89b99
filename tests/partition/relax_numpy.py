"""A small numpy interpreter of Relax modules: what the partitioned module must still compute."""

import numpy as np
import tvm
from tvm import relax


def _conv2d(x, w):
    out = np.zeros((x.shape[0], w.shape[0], *x.shape[2:]), x.dtype)
    for o in range(w.shape[0]):
        for c in range(w.shape[1]):
            out[:, o] += x[:, c] * w[o, c, 0, 0]  # 1x1 kernels only
    return out


OPS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "matmul": np.matmul,
    "nn.relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "exp": lambda x: np.exp(np.clip(x, -4, 4)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "negative": np.negative,
    "abs": np.abs,
    "nn.conv2d": _conv2d,
}


def evaluate(mod, *inputs, function="main"):
    """Run a function of `mod` on numpy arrays."""
    func = mod[function]
    env = {p.__chandle__(): x for p, x in zip(func.params, inputs, strict=True)}
    return _sequence(mod, func.body, env)


def _sequence(mod, seq, env):
    for block in seq.blocks:
        for binding in block.bindings:
            key = binding.var.__chandle__()
            assert key not in env, f"{binding.var.name} is bound twice"
            env[key] = _value(mod, binding.value, env)
    return _value(mod, seq.body, env)


def _value(mod, expr, env):
    kind = type(expr)
    if kind is tvm.ir.Var or kind is relax.DataflowVar:
        return env[expr.__chandle__()]
    if kind is tvm.ir.GenericConst:
        return expr.value.numpy()
    if kind is tvm.ir.Tuple:
        return tuple(_value(mod, f, env) for f in expr.fields)
    if kind is tvm.ir.TupleGetItem:
        return _value(mod, expr.tuple_value, env)[expr.index]
    if kind is relax.If:
        taken = expr.true_branch if bool(_value(mod, expr.cond, env)) else expr.false_branch
        return _sequence(mod, taken, dict(env))
    assert kind is tvm.ir.Call, kind
    args = [_value(mod, a, env) for a in expr.args if not isinstance(a, relax.ShapeExpr)]
    if isinstance(expr.op, tvm.ir.GlobalVar):
        return evaluate(mod, *args, function=expr.op.name_hint)
    name = expr.op.name.removeprefix("relax.")
    if name == "split":
        return tuple(np.split(args[0], int(expr.attrs.indices_or_sections), expr.attrs.axis))
    if name == "concat":
        return np.concatenate(args[0], expr.attrs.axis)
    if name == "reshape":
        return args[0].reshape([int(d) for d in expr.args[1].values])
    return OPS[name](*args)
