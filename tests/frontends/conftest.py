"""Fixtures of the frontends' tests: small graphs in, numbers compared."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from graph_tools import rng, tools
from tvm import relax

__all__ = ["case", "rng", "tools"]


class Case:
    """A function of inputs written with `relax.op`, checked before and after normalisation."""

    def __init__(self, tools):
        self.tools = tools

    def build(self, types, body):
        builder = relax.BlockBuilder()
        params = [relax.Var(f"x{i}", t) for i, t in enumerate(types)]
        with builder.function("main", params):
            with builder.dataflow():
                result = builder.emit_output(builder.normalize(body(*params)))
            builder.emit_func_output(result)
        return builder.get()

    def check(self, types, body, expected, positive=False, tolerance=2e-6):
        """Normalise; compare ops with `expected` and numbers with the original."""
        from byoc.frontends import import_model

        mod = self.build(types, body)
        before = mod.script()
        done = import_model(mod).mod
        relax.analysis.well_formed(done)
        assert mod.script() == before, "the given module changed"
        assert self.tools.ops(done) == expected
        both = tvm.IRModule(
            {
                name: m["main"].with_attr("global_symbol", name)
                for name, m in (("before", mod), ("after", done))
            }
        )
        vm = relax.VirtualMachine(tvm.compile(both, tvm.target.Target({"kind": "llvm"})), tvm.cpu())
        for seed in range(2):
            rng = np.random.default_rng(seed)
            arrays = [rng.standard_normal([int(d) for d in t.shape]).astype("f4") for t in types]
            tensors = [tvm.runtime.tensor(np.abs(a) if positive else a) for a in arrays]
            results = [vm[name](*tensors).numpy() for name in ("after", "before")]
            self.tools.close(results[:1], results[1:], tolerance)
        return done


@pytest.fixture
def case(tools) -> Case:
    return Case(tools)
