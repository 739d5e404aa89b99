"""Segments behind host ops that change sizes: every name they use is a dimension of an input."""

import random

import numpy as np
import pytest
import tvm
from relax_numpy import evaluate
from toy_vendors import toy
from tvm import relax

from byoc.dims import UNKNOWN, names
from byoc.partition import partition_module

pytestmark = pytest.mark.filterwarnings("ignore")

VENDOR = toy("toy", "add", "multiply", "nn.relu", "concat")


def _random_module(seed):
    """Sizes grow by joining, here and on the host; branches of different sizes join again."""
    rng = random.Random(seed)
    bb = relax.BlockBuilder()
    n, m = (tvm.tirx.Var(name, "int64") for name in "nm")
    x = relax.Var("x", relax.TensorType((n, 2), "float32"))
    p = relax.Var("p", tvm.ir.TupleType([relax.TensorType((m, 2), "float32")] * 2))
    with bb.function("main", [x, p]):
        with bb.dataflow():
            live = [x, bb.emit(relax.TupleGetItem(p, 1))]
            for _ in range(rng.randrange(3, 12)):
                one, other = (rng.choice(live) for _ in range(2))
                kind = rng.randrange(5)
                if kind == 0:
                    live.append(bb.emit(relax.op.concat([one, other])))
                elif kind == 1:
                    live.append(bb.emit(relax.op.tanh(one)))
                elif kind == 2:
                    live.append(bb.emit(relax.op.multiply(one, one)))
                elif kind == 3:
                    live.append(bb.emit(relax.op.nn.relu(one)))
                else:
                    whole = bb.emit(relax.op.concat([one, other, one, other]))
                    halves = bb.emit(relax.op.split(whole, 2))
                    live.append(bb.emit(relax.TupleGetItem(halves, 1)))
            out = bb.emit_output(relax.Tuple(live[-2:]))
        bb.emit_func_output(out)
    return bb.get()


@pytest.mark.parametrize("seed", range(60))
def test_every_name_is_a_dimension_of_an_input(seed):
    mod = _random_module(seed)
    result = partition_module(mod, [VENDOR], min_segment_ops=1)
    relax.analysis.well_formed(result.mod)
    for segment in result.segments:
        told = {dim for v in segment.inputs for dim in segment.type(v).shape}
        used = {dim for kind in segment.values for dim in kind.shape}
        assert UNKNOWN not in used
        assert all(names(dim) <= told for dim in used)
    refused = [r.reason for r in result.report.reasons()]
    assert not any("symbolic dimension" in reason for reason in refused)
    rng = np.random.default_rng(seed)
    given = rng.random((3, 2), "float32"), tuple(rng.random((2, 4, 2), "float32"))
    for want, got in zip(evaluate(mod, *given), evaluate(result.mod, *given), strict=True):
        np.testing.assert_array_equal(want, got)
