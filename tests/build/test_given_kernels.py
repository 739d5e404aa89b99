"""Vendors that give kernels instead of bytes: right in every mode, and named in reports."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from kernel_vendor import VENDOR
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import ArtifactError, CompileError, VendorError
from byoc.runtime import Healing
from byoc.segment import HostArtifact, KernelCall, Requires
from byoc.vendor import HostRuntime

sys.path.append(str(Path(__file__).parents[1] / "runtime"))

RNG = np.random.default_rng(4)
SHAPE = (5, 7)


def model(path: Path) -> str:
    """Two layers with a sigmoid between them, twice the same work, and a sum at the end."""
    arrays = {
        "w0": RNG.standard_normal((7, 7)).astype("float32"),
        "b0": RNG.standard_normal(7).astype("float32"),
        "w1": RNG.standard_normal((7, 7)).astype("float32"),
        "b1": RNG.standard_normal(7).astype("float32"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["p0"], "fc0"),
        helper.make_node("Add", ["p0", "b0"], ["s0"], "bias0"),
        helper.make_node("Relu", ["s0"], ["r0"], "relu0"),
        helper.make_node("Sigmoid", ["r0"], ["g"], "gate"),
        helper.make_node("MatMul", ["g", "w1"], ["p1"], "fc1"),
        helper.make_node("Add", ["p1", "b1"], ["s1"], "bias1"),
        helper.make_node("Relu", ["s1"], ["r1"], "relu1"),
        helper.make_node("Add", ["r1", "g"], ["y"], "residual"),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, path)
    return str(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def x():
    return RNG.standard_normal(SHAPE).astype("float32")


@pytest.fixture(scope="module")
def expected(path, x):
    return byoc.compile(path, vendors=[])(x)


@pytest.fixture(scope="module")
def plain(path):
    return byoc.compile(path, vendors=[VENDOR])


def same(exe, x, expected) -> bool:
    return bool(np.allclose(exe(x), expected, rtol=1e-5, atol=1e-6))


def test_its_kernels_are_tasks_of_the_plan_under_its_name(plain, x, expected):
    assert same(plain, x, expected)
    plan = plain._program.body
    assert {task.kind for task in plan.tasks} == {"host"}, "a call of a segment is left"
    assert not any(artifact.blob for artifact in plain._program.artifacts)
    profile = plain.profile(x)
    owners = {name: task.vendor for task in profile.tasks for name in task.source}
    assert owners["fc0"] == owners["fc1"] == owners["residual"] == "tiny"
    assert owners["gate"] == ""
    assert "tiny" in profile.table() and "tiny" in str(plain.report)


def test_equal_kernels_are_compiled_once(plain):
    tasks = plain._program.body.tasks
    names = [task.function for task in tasks if {"fc0", "fc1"} & set(task.source)]
    assert len(names) == 4 and len(set(names)) == 2, names


def test_a_file_runs_where_the_vendor_is_not_installed(plain, x, expected, tmp_path):
    plain.save(tmp_path / "tiny.byoc")
    assert same(byoc.load(tmp_path / "tiny.byoc"), x, expected)


def test_it_runs_in_c(path, plain, x, expected, tmp_path):
    from c_session import run_in_c

    plain.save(tmp_path / "tiny.byoc")
    answer = run_in_c(tmp_path / "tiny.byoc", [x], SHAPE)
    np.testing.assert_allclose(answer["y"], expected.ravel(), rtol=1e-5, atol=1e-6)
    healed = byoc.compile(path, vendors=[VENDOR], heal=True)
    healed.save(tmp_path / "healed.byoc")
    answer = run_in_c(tmp_path / "healed.byoc", [x], SHAPE)
    np.testing.assert_allclose(answer["y"], expected.ravel(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"heal": True}, {"isolate": True}, {"heal": True, "isolate": ["tiny"]}]
)
def test_apart_from_its_model(path, x, expected, changes, tmp_path):
    with closing(byoc.compile(path, vendors=[VENDOR], **changes)) as exe:
        assert same(exe, x, expected) and not exe.faults
        assert all(artifact.blob for artifact in exe._program.artifacts)
        exe.save(tmp_path / "apart.byoc")
    with closing(byoc.load(tmp_path / "apart.byoc")) as again:
        assert same(again, x, expected) and not again.faults


@pytest.mark.parametrize("heal", [None, True])
def test_a_kernel_may_write_several_values(heal, tmp_path):
    """Sum and product of the same operands in one pass, both of them results of the model."""
    import tvm
    from tvm import te

    def patterns():
        from tvm.relax.dpl import is_op, wildcard

        return [
            byoc.Pattern(op, is_op(f"relax.{op}")(wildcard(), wildcard()))
            for op in ("add", "multiply")
        ]

    def compile_segment(segment, options):
        a, b = (te.placeholder(SHAPE, name=name) for name in "ab")
        both = te.create_prim_func(
            [a, b, te.compute(SHAPE, lambda i, j: a[i, j] + b[i, j]),
             te.compute(SHAPE, lambda i, j: a[i, j] * b[i, j])]
        )  # fmt: skip
        made = {node.op: node.outputs[0] for node in segment}
        call = KernelCall("both", segment.nodes[0].inputs, (made["add"], made["multiply"]))
        return HostArtifact(segment.name, segment.vendor, tvm.IRModule({"both": both}), (call,))

    vendor = dataclasses.replace(VENDOR, patterns=patterns, compile=compile_segment)
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in "abps"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["a", "b"], ["p"]), helper.make_node("Add", ["a", "b"], ["s"])],
        "both", ports[:2], ports[2:],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, tmp_path / "both.onnx")
    exe = byoc.compile(str(tmp_path / "both.onnx"), vendors=[vendor], heal=heal)
    assert len(exe.report.segments) == 1
    a, b = (RNG.standard_normal(SHAPE).astype("float32") for _ in range(2))
    found = exe.run({"a": a, "b": b})
    np.testing.assert_array_equal(found["s"], a + b)
    np.testing.assert_array_equal(found["p"], a * b)


def test_every_call_is_checked_where_that_is_asked_for(path, x, expected, monkeypatch):
    """Tensors are aligned to their elements only then, and outputs hold noise."""
    monkeypatch.setenv("BYOC_CHECK", "1")
    exe = byoc.compile(path, vendors=[VENDOR], heal=True)
    assert same(exe, x, expected) and not exe.faults


@pytest.mark.parametrize("blob", [b"1234567", b"\xff" * 8, (9).to_bytes(8, "little") + b"{}" * 9])
def test_a_blob_that_is_none_is_refused(path, blob):
    from byoc.runtime import Session

    program = byoc.compile(path, vendors=[VENDOR], isolate=True)._program
    spoilt = tuple(dataclasses.replace(a, blob=blob) for a in program.artifacts)
    with pytest.raises(VendorError, match="'tiny', segment 'tiny_0' could not be loaded"):
        Session(dataclasses.replace(program, artifacts=spoilt, isolation=None))


def test_a_call_of_a_segment_without_code_is_refused(path, plain):
    from byoc.runtime import Session

    program = byoc.compile(path, vendors=[VENDOR], isolate=True)._program
    bare = tuple(dataclasses.replace(a, blob=b"") for a in program.artifacts)
    with pytest.raises(ArtifactError, match="segment 'tiny_0'.*no such segment"):
        Session(dataclasses.replace(program, artifacts=bare, isolation=None))


def test_a_file_is_inspected_and_checked(plain, tmp_path):
    from typer.testing import CliRunner

    from byoc.cli import app

    plain.save(tmp_path / "tiny.byoc")
    for command in ("inspect", "check"):
        result = CliRunner().invoke(app, [command, str(tmp_path / "tiny.byoc")])
        assert result.exit_code == 0, result.output
        assert "tiny" in result.output


def broken(**changes):
    """The vendor, whose artifacts are changed."""

    def compile_segment(segment, options):
        return dataclasses.replace(VENDOR.compile(segment, options), **changes)

    return dataclasses.replace(VENDOR, compile=compile_segment)


def test_a_twin_answers_for_numbers_that_are_none(path, x, expected):
    def compile_segment(segment, options):
        made = VENDOR.compile(segment, options)
        spoilt = {v: np.full_like(a, np.nan) for v, a in made.constants.items()}
        return dataclasses.replace(made, constants=spoilt)

    bad = dataclasses.replace(VENDOR, compile=compile_segment)
    exe = byoc.compile(path, vendors=[bad], heal=Healing(check_nan=True))
    assert same(exe, x, expected)
    assert {fault.kind for fault in exe.faults} == {"nan"}


def test_a_segment_that_is_refused_is_left_to_its_twin(path, x, expected):
    def compile_segment(segment, options):
        if any(node.op == "matmul" for node in segment) and "fc1" in segment.nodes[0].source:
            raise CompileError("not this one")
        return VENDOR.compile(segment, options)

    picky = dataclasses.replace(VENDOR, compile=compile_segment)
    exe = byoc.compile(path, vendors=[picky], heal=True)
    assert same(exe, x, expected)


def test_in_the_background(path, x, expected, tmp_path):
    with closing(byoc.compile(path, vendors=[VENDOR], background=True)) as exe:
        assert same(exe, x, expected)
        assert exe.wait().complete
        assert same(exe, x, expected)
        exe.save(tmp_path / "late.byoc")
    assert same(byoc.load(tmp_path / "late.byoc"), x, expected)


@pytest.mark.parametrize("isolate", [None, True])
def test_placed_by_measured_time(path, x, expected, tmp_path, monkeypatch, isolate):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    how = {"placement": "measured", "budget": 5, "isolate": isolate}
    with closing(byoc.compile(path, vendors=[VENDOR], **how)) as exe:
        assert same(exe, x, expected)


def test_what_is_in_the_plan_cannot_be_isolated_later(plain, tmp_path):
    plain.save(tmp_path / "tiny.byoc")
    with pytest.raises(VendorError, match=r"'tiny' cannot run out of process.*compile it with"):
        byoc.load(tmp_path / "tiny.byoc", isolate=True)


def test_shapes_that_are_known_late(path, x, expected, tmp_path):
    proto = onnx.load(path)
    for port in (*proto.graph.input, *proto.graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(proto, tmp_path / "dynamic.onnx")

    exe = byoc.compile(str(tmp_path / "dynamic.onnx"), vendors=[dynamic()], min_segment_ops=1)
    assert same(exe, x, expected)
    assert same(exe, np.concatenate([x, x]), np.concatenate([expected, expected]))
    assert exe.report.segments
    exe.save(tmp_path / "dynamic.byoc")
    assert same(byoc.load(tmp_path / "dynamic.byoc"), x, expected)
    with pytest.raises(CompileError, match="symbolic shapes.*in the model only"):
        byoc.compile(
            str(tmp_path / "dynamic.onnx"), vendors=[dynamic()], isolate=True, min_segment_ops=1
        )


def rows_added(columns):
    from tvm import te, tirx

    shape = (tirx.Var("n", "int64"), columns)
    a, b = te.placeholder(shape, name="a"), te.placeholder(shape, name="b")
    return te.create_prim_func([a, b, te.compute(shape, lambda i, j: a[i, j] + b[i, j])])


def dynamic():
    """Adds matrices of any number of rows."""
    import tvm

    def patterns():
        from tvm.relax.dpl import is_op, wildcard

        return [byoc.Pattern("add", is_op("relax.add")(wildcard(), wildcard()), check=full)]

    def full(match):
        shapes = [match.type(v).shape for v in match.nodes[0].inputs]
        return None if len(shapes[0]) == len(shapes[1]) == 2 else byoc.Reject("a bias")

    def compile_segment(segment, options):
        kernels, calls = {}, []
        for k, node in enumerate(segment):
            kernels[f"k{k}"] = rows_added(int(segment.type(node.outputs[0]).shape[1]))
            calls.append(KernelCall(f"k{k}", node.inputs, node.outputs, node.source))
        return HostArtifact(segment.name, segment.vendor, tvm.IRModule(kernels), tuple(calls))

    return dataclasses.replace(VENDOR, patterns=patterns, compile=compile_segment)


def test_stock_passes_of_tvm_take_it(x):
    import tvm
    from tvm import relax

    from byoc.integrations import stock

    stock.register(VENDOR)
    weight = RNG.standard_normal((7, 4)).astype("float32")
    builder = relax.BlockBuilder()
    var = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    with builder.function("main", [var]):
        with builder.dataflow():
            y = builder.emit_output(relax.op.matmul(var, relax.const(weight)))
        builder.emit_func_output(y)
    mod = relax.transform.FuseOpsByPattern(stock.fusion_patterns(VENDOR), bind_constants=True)(
        builder.get()
    )
    mod = relax.transform.RunCodegen()(relax.transform.MergeCompositeFunctions()(mod))
    vm = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())
    np.testing.assert_allclose(vm["main"](tvm.runtime.tensor(x)).numpy(), x @ weight, rtol=1e-5)


@pytest.mark.parametrize("save", [False, True])
def test_a_feature_that_is_missing_is_named(path, tmp_path, save, monkeypatch):
    wants = broken(requires=Requires(cpu_features=("no-such-feature",)))
    with pytest.raises(VendorError, match="'tiny': segment 'tiny_0' needs.*no-such-feature"):
        byoc.compile(path, vendors=[wants])


def test_intrinsics_are_found_and_refused_where_they_cannot_run(path):
    import tvm
    from tvm import tirx
    from tvm.script import tirx as T

    from byoc.tir.features import check_features, cpu_features_of_llvm, kernel_features

    name = T.llvm_lookup_intrinsic_id("llvm.x86.tdpbssd")

    @T.prim_func
    def tiles(x: T.Buffer((16, 64), "int8")):
        T.evaluate(T.call_llvm_intrin("int32", T.uint32(name), T.uint8(0), T.uint8(1), T.uint8(2)))

    assert isinstance(tiles, tirx.PrimFunc)
    used = kernel_features(tvm.IRModule({"tiles": tiles}))
    assert used == ("amx-int8", "amx-tile")
    with pytest.raises(CompileError, match="amx-int8, amx-tile"):
        check_features(used, cpu_features_of_llvm() - {"amx-int8", "amx-tile"})
    check_features(used, {"amx-int8", "amx-tile"})


def test_a_file_says_which_features_its_kernels_need(plain, tmp_path, monkeypatch):
    program = plain._program
    target = dataclasses.replace(program.target, features=(*program.target.features, "amx-int9"))
    from byoc.runtime import save_program

    save_program(dataclasses.replace(program, target=target), tmp_path / "amx.byoc")
    with pytest.raises(ArtifactError, match="features that this CPU lacks: amx-int9"):
        byoc.load(tmp_path / "amx.byoc")


def module(segment, options=None):
    return VENDOR.compile(segment, options).kernels


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a, s: b"bytes", "must return a byoc.HostArtifact"),
        (lambda a, s: dataclasses.replace(a, segment="other"), "of segment"),
        (lambda a, s: dataclasses.replace(a, kernels={}), "must be a tvm.IRModule"),
        (lambda a, s: dataclasses.replace(a, calls=()), "no call writes its outputs"),
        (lambda a, s: dataclasses.replace(a, calls=a.calls[::-1]), "no call before it writes"),
        (lambda a, s: dataclasses.replace(a, calls=(*a.calls, a.calls[-1])), "is there already"),
        (lambda a, s: changed(a, kernel="produkt"), "did you mean 'product"),
        (lambda a, s: changed(a, inputs=(999, 0)), "999 is no value id"),
        (lambda a, s: changed(a, inputs=a.calls[0].inputs[:1]), "takes 3 tensors"),
        (lambda a, s: changed(a, inputs=a.calls[0].inputs[::-1]), "argument 0 of kernel"),
        (lambda a, s: dataclasses.replace(a, constants={0: np.zeros(3)}), "of the value's type"),
        (lambda a, s: dataclasses.replace(a, values=(3,)), "must be a byoc.TensorType"),
        (lambda a, s: dataclasses.replace(a, notes=(3,)), "notes must be strings"),
    ],
)  # fmt: skip
def test_mistakes_are_named(path, spoil, message):
    def compile_segment(segment, options):
        return spoil(VENDOR.compile(segment, options), segment)

    bad = dataclasses.replace(VENDOR, compile=compile_segment)
    with pytest.raises(CompileError, match="vendor author: compile.. of 'tiny'.*" + message):
        byoc.compile(path, vendors=[bad])


def changed(artifact, **changes):
    first, *rest = artifact.calls
    return dataclasses.replace(artifact, calls=(dataclasses.replace(first, **changes), *rest))


def test_kernels_belong_to_the_cpu():
    with pytest.raises(VendorError, match="run on processor 'cpu', found processor='npu'"):
        byoc.contract_checks.check_vendor(dataclasses.replace(VENDOR, processor="npu"))
    assert VENDOR.runtime == HostRuntime()
