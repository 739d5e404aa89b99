"""Random ONNX graphs: a grammar over more than a hundred operators, of known shapes and dtypes.

    graph   = inputs, then rules, each of which adds a few nodes over values that are there
    rule    = "a unary operator", "a convolution", "shape arithmetic", "an If", …

A seed names a graph for ever. Two properties keep comparisons of two right engines equal:
values stay small (``size`` bounds them; what grows goes through Tanh), and operators that jump
(floor, arg max, casts to integers) read *exact* values only: inputs and what was moved from them.

One graph in eight has a symbolic batch and is run at two sizes of it (`dynamic.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper

from byoc.segment import Array
from byoc.testing.grammar.control import CONTROL
from byoc.testing.grammar.core import ANY, FLOATS, Case, GraphBuilder, KnownValue, port
from byoc.testing.grammar.dynamic import DYNAMIC, SIZE
from byoc.testing.grammar.elementwise import ELEMENTWISE
from byoc.testing.grammar.indices import INDICES
from byoc.testing.grammar.products import PRODUCTS
from byoc.testing.grammar.quantised import QUANTISED
from byoc.testing.grammar.reductions import REDUCTIONS
from byoc.testing.grammar.shapes import SHAPES
from byoc.testing.grammar.windows import WINDOWS

__all__ = ["RULES", "Case", "make_case"]

OPSETS = (13, 24)
OTHER_SIZE = 5

_SYMBOLIC = 1 / 8  # share of graphs that have a symbolic batch
_READ_OUTPUT = 0.15  # share of values that are outputs though nodes read them
_GIVEN_WEIGHTS = 0.1  # share of graphs whose initializers are inputs too

RULES: tuple[Callable[[GraphBuilder], None], ...] = (
    *ELEMENTWISE, *REDUCTIONS, *SHAPES, *INDICES, *WINDOWS, *PRODUCTS, *QUANTISED, *CONTROL,
)  # fmt: skip


def make_case(seed: int, count: int | None = None) -> Case:
    """The graph of a seed: opset 13 to 24, one to a dozen inputs, three to twelve rules.

    Args:
        seed: It names the graph.
        count: How many rules, instead.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder(rng, int(rng.integers(OPSETS[0], OPSETS[1] + 1)))
    dynamic = b.chance(_SYMBOLIC)
    if dynamic:
        b.new_input([SIZE, *(b.dim(2, 6) for _ in range(b.dim(1, 3)))], "float32")
    else:
        b.new_input([b.dim() for _ in range(b.dim(0, 4))], b.pick((*FLOATS, *ANY)))
    rules, names = DYNAMIC if dynamic else RULES, []
    drawn = b.dim(3, 12)
    for _ in range(count or drawn):
        rule = b.pick(rules)
        names.append(rule.__name__)
        rule(b)
    made = {n for node in b.nodes for n in node.output}
    read = {n for node in b.nodes for n in node.input}
    results = [v for v in b.values if v.name in made]
    outputs = [v for v in results if v.name not in read or b.chance(_READ_OUTPUT)]
    if not outputs:
        outputs = [b.emit("Identity", [b.values[0]], b.values[0].shape)]
    model = _model(b, f"random_{seed}", outputs, dynamic)
    more = (_at_other_size(b),) if dynamic else ()
    return Case(seed, model, b.inputs, tuple(names), more)


def _model(
    b: GraphBuilder, name: str, outputs: Sequence[KnownValue], dynamic: bool
) -> onnx.ModelProto:
    ports = []
    for n, array in b.inputs.items():
        shape = ["N", *array.shape[1:]] if dynamic else None
        ports.append(port(KnownValue(n, str(array.dtype), array.shape), shape))
    if b.chance(_GIVEN_WEIGHTS):  # weights that a caller might give
        ports += [port(KnownValue(t.name, str(onnx.numpy_helper.to_array(t).dtype), tuple(t.dims)))
                  for t in b.stored]  # fmt: skip
    results = []
    for value in outputs:
        free = dynamic and value.shape[:1] == (SIZE,)
        results.append(port(value, ["N", *value.shape[1:]] if free else None))
    graph = helper.make_graph(b.nodes, name, ports, results, b.stored)
    opset = helper.make_opsetid("", b.opset)
    version = helper.find_min_ir_version_for([opset], True)
    return helper.make_model(graph, opset_imports=[opset], ir_version=version)


def _at_other_size(b: GraphBuilder) -> dict[str, Array]:
    return {n: b.array((OTHER_SIZE, *a.shape[1:]), str(a.dtype)) for n, a in b.inputs.items()}
