"""Random Relax modules: branches, tuples, several outputs, shared constants, nested `If`."""

import numpy as np
from hypothesis import strategies as st
from tvm import relax

SHAPE = (2, 4)
UNARY = ("nn.relu", "tanh", "sigmoid", "negative", "abs")
BINARY = ("add", "multiply", "subtract", "maximum")


@st.composite
def recipes(draw, max_ops=14, tuples=True):
    """A list of steps; each names an op and the earlier values it reads (modulo their count)."""
    pick = st.integers(0, 40)
    kinds = [
        st.tuples(st.sampled_from(UNARY), pick),
        st.tuples(st.sampled_from(BINARY), pick, pick),
        st.tuples(
            st.just("constant"), st.sampled_from(("add", "multiply")), pick, st.integers(0, 3)
        ),
        st.tuples(st.just("split"), pick),
        st.tuples(st.just("concat"), pick, pick),
        st.tuples(st.just("alias"), pick),
    ]
    if tuples:
        kinds.append(st.tuples(st.just("tuple"), pick, pick, st.integers(0, 1)))
    steps = draw(st.lists(st.one_of(kinds), min_size=1, max_size=max_ops))
    outputs = draw(st.lists(pick, min_size=1, max_size=3))
    return steps, outputs, draw(st.booleans())


def relax_op(name):
    return {"nn.relu": relax.op.nn.relu}.get(name) or getattr(relax.op, name)


def build(recipe):
    """The module of a recipe: main(x, y) with one dataflow block, or none."""
    steps, outputs, dataflow = recipe
    kind = relax.TensorType(SHAPE, "float32")
    params = [relax.Var("x", kind), relax.Var("y", kind)]
    rng = np.random.default_rng(0)
    constants = [relax.const(rng.standard_normal(SHAPE).astype("float32")) for _ in range(3)]
    constants.append(relax.const(constants[0].value.numpy()))  # equal, another object
    bb = relax.BlockBuilder()

    def body():
        values = list(params)
        for step in steps:
            name, args = step[0], [values[k % len(values)] for k in step[1:] if type(k) is int]
            if name == "constant":
                first = values[step[2] % len(values)]
                found = bb.emit(relax_op(step[1])(first, constants[step[3]]))
            elif name == "split":
                pair = bb.emit(relax.op.split(args[0], 2, axis=1))
                halves = [bb.emit(pair[0]), bb.emit(pair[1])]
                found = bb.emit(relax.op.concat([halves[1], halves[0]], axis=1))
            elif name == "concat":
                both = bb.emit(relax.op.concat([args[0], args[1]], axis=0))
                pair = bb.emit(relax.op.split(both, 2, axis=0))
                found = bb.emit(pair[1])
            elif name == "tuple":
                pair = bb.emit(relax.Tuple([args[0], args[1]]))
                found = bb.emit(pair[step[3]])
            elif name == "alias":
                found = bb.emit(args[0])
            else:
                found = bb.emit(relax_op(name)(*args))
            values.append(found)
        chosen = [values[k % len(values)] for k in outputs]
        return chosen[0] if len(chosen) == 1 else relax.Tuple(chosen)

    return finish(bb, params, dataflow, body)


def finish(bb, params, dataflow, body):
    """The module whose main(*params) is what `body` emits, in a dataflow block or not."""
    with bb.function("main", params):
        if dataflow:
            with bb.dataflow():
                result = bb.emit_output(body())
        else:
            result = bb.emit(body())
        bb.emit_func_output(result)
    return bb.get()
