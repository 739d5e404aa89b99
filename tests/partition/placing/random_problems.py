"""Random problems whose costs are given numbers, and their answers by trying everything."""

from __future__ import annotations

from contextlib import contextmanager

from tvm import relax
from tvm.relax.dpl import is_op, wildcard

from byoc.ir.decode import Decoder
from byoc.partition.matching.match import VendorPatterns
from byoc.partition.placing.context import FunctionContext, make_request
from byoc.testing.fake_vendors import synthetic, synthetic_costs
from byoc.vendor import Pattern, Reject

UNARY = ("nn.relu", "tanh", "sigmoid", "negative", "abs")
BINARY = ("add", "multiply", "maximum", "subtract")
SHAPE = (2, 4)
US = 1e-6


@contextmanager
def _main(bb, params):
    """A function main; what is put in the list it yields are its results."""
    results = []
    with bb.function("main", params):
        with bb.dataflow():
            yield results
            whole = bb.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        bb.emit_func_output(whole)


def random_module(rng, count, wide=False):
    """main(x, y) of `count` ops, each named op<k>: unary and binary ones over earlier values."""
    kind = relax.TensorType(SHAPE, "float32")
    params = [relax.Var("x", kind), relax.Var("y", kind)]
    bb = relax.BlockBuilder()
    with _main(bb, params) as out:
        values = list(params)
        unused = {}
        for k in range(count):
            recent = values if wide else values[-4:]

            def pick(recent=recent):
                return rng.choice(recent)

            if rng.random() < 0.5:
                op = rng.choice(UNARY)
                args = [pick()]
            else:
                op = rng.choice(BINARY)
                args = [pick(), pick()]
            call = _op(op)(*args)
            found = bb.emit(call, name_hint=f"op{k}")
            for arg in args:
                unused.pop(str(arg.name), None)
            unused[str(found.name)] = found
            values.append(found)
        outputs = list(unused.values())
        out += outputs
    return bb.get()


def chain_module(rng, count):
    """main(x) of `count` unary ops in a row."""
    kind = relax.TensorType(SHAPE, "float32")
    x = relax.Var("x", kind)
    bb = relax.BlockBuilder()
    with _main(bb, [x]) as out:
        value = x
        for k in range(count):
            value = bb.emit(_op(rng.choice(UNARY))(value), name_hint=f"op{k}")
        out.append(value)
    return bb.get()


def tree_module(rng, count):
    """main(x_0, …) in which every value is read once: an in-tree of `count` ops."""
    kind = relax.TensorType(SHAPE, "float32")
    leaves = [relax.Var(f"x_{k}", kind) for k in range(count + 1)]
    bb = relax.BlockBuilder()
    with _main(bb, leaves) as out:
        free, made = list(leaves), []
        for k in range(count):
            pool = made if len(made) > 1 or (made and rng.random() < 0.6) else free
            one = pool.pop(rng.randrange(len(pool)))
            last = count - k <= len(made)
            if last or rng.random() < 0.5:
                other = made or free
                call = _op(rng.choice(BINARY))(one, other.pop(rng.randrange(len(other))))
            else:
                call = _op(rng.choice(UNARY))(one)
            made.append(bb.emit(call, name_hint=f"op{k}"))
        out += made
    return bb.get()


def _op(name):
    return {"nn.relu": relax.op.nn.relu}.get(name) or getattr(relax.op, name)


def pairs_of_unary():
    """One pattern of two ops in a row, for vendors that fuse."""
    first = is_op("relax.nn.relu")(wildcard()) | is_op("relax.tanh")(wildcard())
    return [
        Pattern("fused", is_op("relax.negative")(first) | is_op("relax.add")(first, wildcard()))
    ]


def random_context(rng, mod, candidates=12, parallel=False, placement="model", fused=False):
    """Three synthetic vendors that offer `candidates` ops between them, and the context of it.

    fused: the first also takes pairs of ops, cheaper than one by one.
    """
    names = [str(b.var.name) for b in mod["main"].body.blocks[0].bindings]
    names = [name for name in names if name.startswith("op")]
    pairs = [(vendor, name) for vendor in range(3) for name in names]
    chosen = rng.sample(pairs, min(candidates, len(pairs)))
    vendors = []
    for k in range(3):
        mine = {name: rng.uniform(0.3, 5) * US for vendor, name in chosen if vendor == k}
        pair = rng.uniform(0.5, 4) * US
        vendors.append(
            synthetic(
                f"v{k}",
                lambda nodes, mine=mine, pair=pair: (
                    mine[nodes[0].source[0]] if len(nodes) == 1 else pair
                ),
                ops=(*UNARY, *BINARY),
                patterns=pairs_of_unary if fused and k == 0 else None,
                check=lambda match, mine=mine: (
                    None if match.nodes[0].source[0] in mine else Reject("not on the list")
                ),
                processor=f"p{k}" if parallel else "cpu",
                launch=rng.choice((0.0, 0.5, 2.0)) * US,
                border=rng.choice((0.0, 0.2, 1.0)) * US,
                border_bytes=rng.choice((float("inf"), 1e8)),
            )
        )
    host = {name: rng.uniform(0.5, 6) * US for name in names}
    costs = synthetic_costs(lambda nodes: host[nodes[0].source[0]])
    request = make_request(vendors, placement=placement, costs=costs)
    return FunctionContext(
        mod["main"],
        name="main",
        first=0,
        vendors=[VendorPatterns(v) for v in vendors],
        request=request,
        decoder=Decoder(),
    )


def the_problem(context):
    """The only scope of a context."""
    return context.problem(0, context.request.limits, context.request.strategy)


def best_of_all(problem):
    """The least objective of every choice there is."""
    found, best = problem.candidates.found, float("inf")
    legal = set(problem.legal)

    def walk(at, taken, chosen):
        nonlocal best
        if at == len(problem.nodes):
            placed = problem.evaluate(chosen)
            best = min(best, placed.penalty + placed.seconds)
            return
        node = problem.nodes[at]
        walk(at + 1, taken, chosen)
        if node not in taken:
            for index in problem.candidates.covering[node]:
                nodes = found[index].nodes
                if index in legal and nodes[0] == node and taken.isdisjoint(nodes):
                    walk(at + 1, taken | set(nodes), [*chosen, index])

    walk(0, frozenset(), [])
    return best
