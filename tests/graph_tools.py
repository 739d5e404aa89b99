"""Fixtures for tests that build small ONNX or Relax graphs and compare numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper, numpy_helper
from tvm import relax


class Tools:
    """What every test of this room needs."""

    @staticmethod
    def model(nodes, inputs, outputs, weights=(), opset=17, **options):
        """An ONNX model. inputs, outputs: name → (dtype, shape); weights: name → array."""

        def info(name, spec):
            dtype, shape = spec
            return helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
            )

        graph = helper.make_graph(
            nodes,
            options.pop("name", "graph"),
            [info(*i) for i in inputs.items()],
            [info(*o) for o in outputs.items()],
            [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(weights).items()],
        )
        imports = [helper.make_opsetid("", opset)]
        imports += [helper.make_opsetid(d, v) for d, v in options.pop("domains", {}).items()]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)

    @staticmethod
    def ops(mod, function="main"):
        """How often each op occurs in a function, inner branches included."""
        found = Counter()

        def visit(expr):
            if isinstance(expr, tvm.ir.Call) and isinstance(expr.op, tvm.ir.Op):
                found[expr.op.name.removeprefix("relax.")] += 1

        body = mod[function] if isinstance(mod, tvm.IRModule) else mod
        relax.analysis.post_order_visit(body, visit)
        return dict(found)

    @staticmethod
    def names(mod, function="main"):
        """(variable name, op) of every binding, in order."""
        pairs = []
        for block in mod[function].body.blocks:
            for binding in block.bindings:
                op = getattr(getattr(binding.value, "op", None), "name", "")
                pairs.append((binding.var.name, op.removeprefix("relax.")))
        return pairs

    @staticmethod
    def run(mod, *arrays, function="main"):
        """The module's outputs by TVM's own lowering, as a list of arrays."""
        vm = relax.VirtualMachine(tvm.compile(mod, tvm.target.Target({"kind": "llvm"})), tvm.cpu())
        result = vm[function](*(tvm.runtime.tensor(np.array(a, order="C")) for a in arrays))
        return [r.numpy() for r in result] if not hasattr(result, "numpy") else [result.numpy()]

    @staticmethod
    def reference(model: onnx.ModelProto, feeds, optimised=True):
        """The model's outputs by ONNX Runtime, or by its kernels as they stand in the model."""
        ort = pytest.importorskip("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if not optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, feeds)

    @staticmethod
    def close(found, expected, tolerance=1e-5):
        """Every array equal up to `tolerance` of the largest value."""
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=0)

    def same_as_reference(self, model, seeds=(0, 1), dims=None, tolerance=1e-5):
        """Import the model, check it against ONNX Runtime, return the imported module."""
        from byoc.frontends import import_model

        imported = import_model(model)
        relax.analysis.well_formed(imported.mod)
        for seed in seeds:
            feeds = self.feeds(model, seed, dims or {})
            found = self.run(imported.mod, *(feeds[n] for n in imported.inputs))
            self.close(found, self.reference(model, feeds), tolerance)
        return imported

    @staticmethod
    def feeds(model, seed, dims):
        """Random inputs of a model by name."""
        rng = np.random.default_rng(seed)
        stored = {t.name for t in model.graph.initializer}
        arrays = {}
        for info in model.graph.input:
            if info.name in stored:
                continue
            tensor = info.type.tensor_type
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            shape = [dims[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
            if dtype.kind == "b":
                arrays[info.name] = rng.random(shape) < 0.5
            elif dtype.kind in "iu":
                arrays[info.name] = rng.integers(0, 5, shape).astype(dtype)
            else:
                arrays[info.name] = rng.standard_normal(shape).astype(dtype)
        return arrays


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
