"""Random modules with products and convolutions of equal shape and different weights, random
vendors that claim the same ops, random policies.
"""

import numpy as np
from hypothesis import strategies as st
from random_modules import BINARY, SHAPE, UNARY, finish, relax_op
from toy_vendors import chain, single
from tvm import relax

from byoc.errors import OptionError
from byoc.partition.placing.policy import Policy, Rule
from byoc.segment import Artifact
from byoc.vendor import PythonRuntime, Rates, Vendor

OPS = (*UNARY, *BINARY, "matmul", "nn.conv2d", "reshape", "split", "concat")


@st.composite
def recipes(draw, max_ops=14):
    """Steps: an op and the earlier values it reads (modulo their count); outputs; dataflow."""
    pick, weight = st.integers(0, 40), st.integers(0, 2)
    kinds = [
        st.tuples(st.sampled_from(UNARY), pick),
        st.tuples(st.sampled_from(BINARY), pick, pick),
        st.tuples(st.sampled_from(("matmul", "conv")), pick, weight),
        st.tuples(st.just("constant"), pick, weight),
        st.tuples(st.just("split"), pick),
        st.tuples(st.just("concat"), pick, pick),
        st.tuples(st.just("tuple"), pick, pick),
        st.tuples(st.just("alias"), pick),
    ]
    steps = draw(st.lists(st.one_of(kinds), min_size=1, max_size=max_ops))
    return steps, draw(st.lists(pick, min_size=1, max_size=3)), draw(st.booleans())


def build(recipe):
    """The module of a recipe: main(x, y)."""
    steps, outputs, dataflow = recipe
    kind = relax.TensorType(SHAPE, "float32")
    params = [relax.Var("x", kind), relax.Var("y", kind)]
    rng = np.random.default_rng(0)

    def constants(*shape):
        return [relax.const(rng.standard_normal(shape).astype("float32") / 2) for _ in range(3)]

    adds, products, kernels = constants(*SHAPE), constants(4, 4), constants(2, 2, 1, 1)
    bb = relax.BlockBuilder()

    def step(name, values, rest):
        args = [values[k % len(values)] for k in rest]
        if name == "constant":
            return bb.emit(relax.op.add(args[0], adds[rest[1] % 3]))
        if name == "matmul":
            return bb.emit(relax.op.matmul(args[0], products[rest[1] % 3]))
        if name == "conv":
            image = bb.emit(relax.op.reshape(args[0], (1, 2, 2, 2)))
            made = bb.emit(relax.op.nn.conv2d(image, kernels[rest[1] % 3]))
            return bb.emit(relax.op.reshape(made, SHAPE))
        if name == "split":
            pair = bb.emit(relax.op.split(args[0], 2, axis=1))
            return bb.emit(relax.op.concat([bb.emit(pair[1]), bb.emit(pair[0])], axis=1))
        if name == "concat":
            both = bb.emit(relax.op.concat([args[0], args[1]], axis=0))
            return bb.emit(bb.emit(relax.op.split(both, 2, axis=0))[1])
        if name == "tuple":
            return bb.emit(bb.emit(relax.Tuple([args[0], args[1]]))[1])
        return bb.emit(args[0] if name == "alias" else relax_op(name)(*args))

    def body():
        values = list(params)
        for name, *rest in steps:
            values.append(step(name, values, rest))
        chosen = [values[k % len(values)] for k in outputs]
        return chosen[0] if len(chosen) == 1 else relax.Tuple(chosen)

    return finish(bb, params, dataflow, body)


def _vendor(name, rates, processor, ops, chains):
    return Vendor(
        name=name,
        version="1",
        patterns=lambda: [
            *(chain(f"chain{k}", *c) for k, c in enumerate(chains)),
            *map(single, ops),
        ],
        compile=lambda segment, options: Artifact(segment.name, name, b""),
        runtime=PythonRuntime(lambda blob, constants, options: lambda inputs, outputs: None),
        processor=processor,
        rates=rates,
    )


@st.composite
def vendor_lists(draw):
    """Two or three vendors that share most ops; each has chains of its own."""
    seconds = st.sampled_from((0.0, 1e-8, 1e-7, 1e-6))
    chains = (("add", "nn.relu"), ("matmul", "add"), ("tanh", "negative"), ("nn.conv2d", "reshape"))
    found = []
    for k in range(draw(st.integers(2, 3))):
        rates = Rates(
            flops=draw(st.sampled_from((1e8, 1e9, 1e10))),
            bytes=draw(st.sampled_from((1e8, 1e9, 1e10))),
            launch=draw(seconds),
            border=draw(seconds),
            border_bytes=draw(st.sampled_from((1e8, 1e10))),
        )
        ops = draw(st.lists(st.sampled_from(OPS), min_size=1, max_size=len(OPS), unique=True))
        mine = draw(st.lists(st.sampled_from(chains), max_size=2, unique=True))
        processor = draw(st.sampled_from(("cpu", "cpu", f"p{k}")))
        found.append(_vendor(f"v{k}", rates, processor, ops, mine))
    return found


@st.composite
def policies(draw):
    """None, or rules over kinds and names of ops and limits; some cannot be met."""
    if draw(st.booleans()):
        return None
    rules = draw(
        st.lists(
            st.builds(
                Rule,
                st.sampled_from(("prefer", "exclude", "prefer", "exclude", "force")),
                st.sampled_from(("v0", "v1", "host")),
                op=st.sampled_from((None, *OPS)),
                name=st.sampled_from((None, "lv1", "lv?", "*2")),
            ),
            max_size=3,
        )
    )
    try:
        return Policy(
            rules=tuple(rules),
            min_segment_ops=draw(st.sampled_from((None, 1, 2, 3))),
            min_segment_flops=draw(st.sampled_from((None, None, 20.0))),
            max_segments=draw(st.sampled_from((None, None, 0, 1, 2))),
            weight_budget=draw(st.sampled_from(({}, {}, {"cpu": 64}))),
        )
    except OptionError:
        return None
