"""Modules written as lines of text, for graphs made by hand."""

from tvm import relax

UNARY = {
    "relu": relax.op.nn.relu, "exp": relax.op.exp, "tanh": relax.op.tanh, "abs": relax.op.abs,
    "neg": relax.op.negative, "sqrt": relax.op.sqrt,
}  # fmt: skip
BINARY = {"add": relax.op.add, "mul": relax.op.multiply, "max": relax.op.maximum}


def graph(text, inputs=("x",)):
    """A module from lines ``name = op(argument, …)``; the last line is the result."""
    bb = relax.BlockBuilder()
    params = [relax.Var(name, relax.TensorType((4, 8), "float32")) for name in inputs]
    with bb.function("main", params):
        with bb.dataflow():
            known = dict(zip(inputs, params, strict=True))
            for line in text.strip().splitlines():
                name, call = (part.strip() for part in line.split("="))
                op, arguments = call.rstrip(")").split("(")
                values = [known[a.strip()] for a in arguments.split(",")]
                known[name] = bb.emit((UNARY | BINARY)[op](*values), name_hint=name)
            out = bb.emit_output(known[name])
        bb.emit_func_output(out)
    return bb.get()
