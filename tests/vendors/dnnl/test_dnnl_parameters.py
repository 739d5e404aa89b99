"""Every op gives the same numbers whether a parameter is a constant or an input.

From each case of cases.py come variants: every float constant that is a tensor becomes an input,
alone, and all of them at once. Each is followed by what may be fused behind it (an activation, a
residual, the two together) and compiled with and without fusion. The judge is the numpy
interpreter, run on the program that does not fuse, and, for that program, TVM (test_dnnl_lower.py).
"""

from __future__ import annotations

import cases
import numpy as np
import pytest
import tvm
from interpret import interpret
from native_programs import load, run
from relaxed import as_segment, random_inputs, relax_module
from tvm import relax
from tvm.relax import op as R

from byoc.frontends.normalise.graph import Const
from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment


def _alone(y, x):
    return y


def _leaky(y, x):
    return R.nn.leakyrelu(y, 0.3)


def _residual(y, x):
    return R.add(R.sigmoid(y), _again(y, x))


def _gated(y, x):
    return R.multiply(R.nn.relu(R.add(y, _again(y, x))), cases.scalar(0.7))


def _again(y, x):
    """The case's first input where it can be added to the result, else a number."""
    fits = [int(d) for d in x.ty.shape] == [int(d) for d in y.ty.shape]
    return x if fits and x.ty.dtype == "float32" else cases.scalar(0.3)


TAILS = {"alone": _alone, "leaky": _leaky, "residual": _residual, "gated": _gated}


@relax.expr_functor.mutator
class _Loosened(relax.PyExprMutator):
    """Constants at some places (in visiting order) become parameters; all places are counted."""

    def __init__(self, places):
        super().__init__()
        self.places, self.seen, self.added = places, 0, []

    def visit_generic_const_(self, constant):
        if not isinstance(constant.ty, relax.TensorType):
            return constant
        array = Const(constant).array
        if array.dtype != np.float32 or array.size == 1:
            return constant
        place, self.seen = self.seen, self.seen + 1
        if self.places is not None and place not in self.places:
            return constant
        var = relax.Var(f"p{place}", constant.ty)
        self.added.append((var, array))
        return var


def _loosened(function, places):
    """The function with constants as inputs, and their arrays; places None: all."""
    mutator = _Loosened(places)
    body = mutator.visit_expr(function.body)
    params = [*function.params, *(var for var, _ in mutator.added)]
    made = relax.Function(params, body, function.ret_ty, attrs=function.attrs)
    mod = relax.transform.Normalize()(tvm.IRModule({"main": made}))
    return mod["main"], [array for _, array in mutator.added], mutator.seen


def _with_tail(build, tail):
    def whole(*inputs):
        result = build(*inputs)
        if isinstance(result, (list, tuple)):
            return result
        result = cases.emit(relax.BlockBuilder.current().normalize(result))
        if result.ty.dtype != "float32":
            return result
        return tail(result, inputs[0])

    return whole


NAMES = [n for n in cases.CASES if not n.startswith(("resize", "cast", "permute", "output"))]


def _functions():
    """Cases with constants, under every tail."""
    for name in NAMES:
        build, inputs = cases.CASES[name]
        for tail, function in TAILS.items():
            yield f"{name}_{tail}", (_with_tail(build, function), inputs)


@pytest.fixture(scope="module")
def functions():
    return relax_module(dict(_functions()))


def test_the_generator_finds_the_parameters(functions):
    counts = {n: _loosened(functions[f"{n}_alone"], ())[2] for n in ("batch_norm", "conv2d", "add")}
    assert counts == {"batch_norm": 4, "conv2d": 1, "add": 0}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_as_constants_and_as_inputs(name, functions):
    for tail in TAILS:
        function = functions[f"{name}_{tail}"]
        _, _, count = _loosened(function, ())
        if count == 0 and tail != "gated":
            continue  # without parameters one chain behind the op is enough
        variants = [(), None, *((k,) for k in range(count))] if count > 1 else [(), None]
        first = None
        for places in variants:
            loose, arrays, _ = _loosened(function, places)
            segment = as_segment(loose)
            inputs = random_inputs(segment, seed=1)
            if arrays:
                inputs[-len(arrays) :] = arrays
            for fuse in (False, True):
                artifact = compile_segment(segment, DnnlOptions(fuse=fuse))
                if first is None:
                    first = interpret(artifact, inputs)
                where = f"{name}, {tail}, inputs {places}, fuse={fuse}"
                for kind, results in (
                    ("numpy", interpret(artifact, inputs)),
                    ("oneDNN", run(load(artifact), artifact, inputs)),
                ):
                    for found, want in zip(results, first, strict=True):
                        np.testing.assert_allclose(
                            found, want, rtol=1e-4, atol=1e-4, err_msg=f"{kind}: {where}"
                        )
