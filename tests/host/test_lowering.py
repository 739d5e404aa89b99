"""What lowering promises: the form of `main`, names, notes, segments, errors; the VM path."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from host_runner import Compiled, module
from tvm import relax

from byoc import host
from byoc.errors import CompileError
from byoc.frontends import import_model
from byoc.testing.zoo import LIGHT, build

op = relax.op
RNG = np.random.default_rng(11)


def calls(main):
    return [
        binding.value.op.name
        for block in main.body.blocks
        for binding in block.bindings
        if isinstance(binding.value, tvm.ir.Call)
    ]


def add_segment(mod, name, caller):
    """Add a segment function of one relu and call it through `caller(global_var)`."""
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder(mod)
    attrs = {"Codegen": "toy", "global_symbol": name}
    with builder.function(name, [x], attrs=attrs, private=False):
        with builder.dataflow():
            y = builder.emit_output(op.nn.relu(x))
        builder.emit_func_output(y)
    return builder.get()


def with_segment(branch=False):
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    mod = add_segment(tvm.IRModule(), "toy_0", None)
    builder = relax.BlockBuilder(mod)
    segment = builder.get().get_global_var("toy_0")
    if branch:
        chosen = relax.Var("chosen", relax.TensorType((), "bool"))
        with builder.function("main", [chosen, x]):
            doubled = builder.emit(op.add(x, x))
            taken = relax.SeqExpr([], relax.Call(segment, [doubled]))
            other = relax.SeqExpr([], op.negative(doubled))
            y = builder.emit(relax.If(chosen, taken, other))
            builder.emit_func_output(y)
    else:
        with builder.function("main", [x]):
            with builder.dataflow():
                y = builder.emit(op.add(x, x))
                y = builder.emit(relax.Call(segment, [y]))
                y = builder.emit_output(op.reshape(y, (6,)))
            builder.emit_func_output(y)
    return builder.get()


def test_segments_become_calls_by_name():
    lowered = host.lower(with_segment())
    assert calls(lowered.main) == ["relax.call_tir", "relax.call_dps_packed", "relax.reshape"]
    assert "toy_0" in lowered.main.script()
    assert len(lowered.kernels.functions) == 1


def test_names_survive_fusion():
    weight = RNG.standard_normal((8, 8, 3, 3)).astype("float32")

    def build(b, x):
        y = b.emit(op.nn.conv2d(x, relax.const(weight)), "layer_0/conv")
        y = b.emit(op.nn.relu(y), "layer_0/relu")
        return b.emit(op.nn.max_pool2d(y, (2, 2)), "pool")

    lowered = host.lower(module(build, ((1, 8, 9, 9), "float32")))
    names = [b.var.name for block in lowered.main.body.blocks for b in block.bindings]
    assert names[0] == "layer_0/relu"
    assert lowered.sources["layer_0/relu"] == ("layer_0/conv", "layer_0/relu")


def test_an_op_without_a_kernel_is_named():
    def build(_, x, w):
        return op.nn.conv2d(x, w, data_layout="NCHW4c", kernel_layout="OIHW4o")

    with pytest.raises(CompileError, match=r"no kernel for op 'relax.nn.conv2d'"):
        host.lower(module(build, ((1, 1, 3, 3, 4), "float32"), ((1, 4, 3, 3, 4), "float32")))


def test_lower_refuses_what_needs_the_vm():
    n = tvm.tirx.Var("n", "int64")
    mod = module(lambda _, x: op.nn.relu(x), ((n, 4), "float32"))
    assert host.needs_vm(mod)
    with pytest.raises(CompileError, match="build_vm"):
        host.lower(mod)
    assert host.needs_vm(with_segment(branch=True))
    assert not host.needs_vm(with_segment())


def test_export_needs_a_compiler(monkeypatch, tmp_path):
    run = Compiled(module(lambda _, x: op.nn.relu(x), ((4,), "float32")))
    assert run.library.export()[:4] == b"\x7fELF"
    assert run.library.features
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    tvm.support.cc.get_cc.cache_clear() if hasattr(tvm.support.cc.get_cc, "cache_clear") else None
    with pytest.raises(CompileError, match=r"C\+\+ compiler.*g\+\+"):
        run.library.export()


QUICK = ("shufflenet", "squeezenet")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LIGHT]
)
def test_no_kernel_of_the_light_models_is_left_unscheduled(name):
    notes = host.lower(import_model(build(name)).mod).notes
    assert not {"serial", "opaque"} & set(notes.values()), notes


def vm(mod):
    return relax.VirtualMachine(host.build_vm(mod, threads=2).executable, tvm.cpu())


def test_symbolic_shapes():
    n, m = tvm.tirx.Var("n", "int64"), tvm.tirx.Var("m", "int64")
    weight = RNG.standard_normal((20, 33)).astype("float32")

    def build(b, x, y):
        z = b.emit(op.matmul(x, relax.const(weight)))
        z = b.emit(op.nn.softmax(b.emit(op.add(z, y)), -1))
        w = b.emit(op.nn.softmax(b.emit(op.permute_dims(z, [0, 2, 1])), -1))
        return relax.Tuple([b.emit(op.reshape(z, (n * m, 33))), w])

    run = vm(module(build, ((n, m, 20), "float32"), ((n, 1, 33), "float32")))
    for batch, rows in ((1, 1), (3, 17), (2, 40)):
        x = RNG.standard_normal((batch, rows, 20)).astype("float32")
        y = RNG.standard_normal((batch, 1, 33)).astype("float32")
        flat, turned = run["main"](tvm.runtime.tensor(x), tvm.runtime.tensor(y))
        z = np.exp(x @ weight + y)
        z /= z.sum(-1, keepdims=True)
        np.testing.assert_allclose(flat.numpy(), z.reshape(-1, 33), rtol=1e-4, atol=1e-6)
        w = np.exp(z.swapaxes(1, 2))
        w /= w.sum(-1, keepdims=True)
        np.testing.assert_allclose(turned.numpy(), w, rtol=1e-4, atol=1e-6)


def test_symbolic_image():
    h, w = tvm.tirx.Var("h", "int64"), tvm.tirx.Var("w", "int64")
    weight = RNG.standard_normal((10, 3, 3, 3)).astype("float32")

    def build(b, x):
        y = b.emit(op.nn.conv2d(x, relax.const(weight), strides=2, padding=1))
        return op.mean(b.emit(op.nn.relu(y)), [2, 3])

    run = vm(module(build, ((1, 3, h, w), "float32")))
    for size in ((7, 9), (32, 32)):
        x = RNG.standard_normal((1, 3, *size)).astype("float32")
        static = Compiled(module(build, (x.shape, "float32")))
        got = run["main"](tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(got, static(x), rtol=1e-4, atol=1e-5)


def test_branches_and_segments():
    @tvm_ffi.register_global_func("toy_0", override=True)
    def toy(x, y):
        np.from_dlpack(y)[...] = np.maximum(np.from_dlpack(x), 0)

    run = vm(with_segment(branch=True))
    x = RNG.standard_normal((2, 3)).astype("float32")
    for chosen, want in ((True, np.maximum(2 * x, 0)), (False, -2 * x)):
        got = run["main"](tvm.runtime.tensor(np.array(chosen)), tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-6)
