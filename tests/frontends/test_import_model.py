"""Names, inputs, symbols, user modules, and whole models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax
from tvm.relax import op as R

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model
from byoc.testing import zoo


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def test_bindings_carry_the_names_of_their_nodes(tools, rng):
    weights = {
        "w": rng.standard_normal((4, 3, 1, 1)).astype("f4"),
        "b": rng.standard_normal(4).astype("f4"),
        **{n: rng.random(4).astype("f4") + 0.5 for n in "gtmv"},
    }
    nodes = [
        node("Conv", "x w b", "c", name="/stem/Conv"),
        node("BatchNormalization", "c g t m v", "n", name="/stem/bn/BatchNormalization"),
        node("Sigmoid", "n", "s", name="/stem/act/Sigmoid"),
        node("Mul", "n s", "a", name="/stem/act/Mul"),
        node("GlobalAveragePool", "a", "pooled.out"),
    ]
    model = tools.model(
        nodes, {"x": ("f4", [1, 3, 2, 2])}, {"pooled.out": ("f4", [1, 4, 1, 1])}, weights
    )
    assert tools.names(import_model(model).mod) == [
        ("/stem/Conv", "nn.conv2d"),
        ("/stem/bn/BatchNormalization", "add"),  # both biases in one
        ("/stem/act/Mul", "nn.silu"),
        ("pooled.out", "mean"),
    ]


def test_inputs_and_outputs_keep_the_names_of_the_file(tools):
    model = tools.model(
        [node("Add", "gpu_0/data_0 stored", "out:0"), node("Relu", "out:0", "1")],
        {"gpu_0/data_0": ("f4", [2]), "stored": ("f4", [2]), "unused": ("i8", ["n"])},
        {"1": ("f4", [2]), "out:0": ("f4", [2])},
        {"stored": np.ones(2, "f4")},
    )
    imported = import_model(model)
    assert imported.inputs == ("gpu_0/data_0", "unused"), "initialisers are constants"
    assert imported.outputs == ("1", "out:0")
    main = imported.mod["main"]
    assert [p.name for p in main.params] == ["gpu_0/data_0", "unused"]
    assert len(main.ret_ty.fields) == 2


def dims(model):
    params = import_model(model).mod["main"].params
    return [[d.name if hasattr(d, "name") else str(d) for d in p.ty.shape] for p in params]


def test_symbolic_dimensions_keep_their_names(tools):
    inputs = {
        "a": ("f4", ["batch", "2*seq + 1", 3]),
        "b": ("f4", ["batch", None, "weird name:0"]),
    }
    model = tools.model(
        [node("Relu", "a", "y"), node("Relu", "b", "z")],
        inputs,
        {"y": ("f4", None), "z": ("f4", None)},
    )
    first, second = dims(model)
    assert first[0] == second[0] == "batch"
    assert "seq" in first[1] and "3" in first[2]
    assert second[1:] == ["b_d1", "weird name:0"]
    a, b = import_model(model).mod["main"].params
    assert a.ty.shape[0].same_as(b.ty.shape[0])


@pytest.mark.parametrize(
    "first, second, found",
    [
        ("seq-len", "N", ["seq-len", "N"]),  # no input has seq or len: a name
        ("N*2", "M", ["N*2", "M"]),
        ("N*2", "N", ["N * T.int64(2)", "N"]),  # computed
        ("len(x)", "ñ", ["len(x)", "ñ"]),
    ],
)
def test_an_expression_of_dimensions_that_no_input_has_is_a_name(tools, first, second, found):
    inputs = {"a": ("f4", [first]), "b": ("f4", [second])}
    nodes = [node("Relu", "a", "y"), node("Relu", "b", "z")]
    model = tools.model(nodes, inputs, {"y": ("f4", None), "z": ("f4", None)})
    assert [d for (d,) in dims(model)] == found


def test_an_input_without_rank_is_refused(tools):
    model = tools.model([node("Relu", "x", "y")], {"x": ("f4", None)}, {"y": ("f4", None)})
    with pytest.raises(ModelError, match="input 'x' has no shape"):
        import_model(model)


# -- Relax modules


def module():
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(R.nn.relu(R.add(x, relax.const(0.0, "float32"))))
        builder.emit_func_output(y)
    z = relax.Var("z", relax.TensorType((4,), "float32"))
    with builder.function("helper", [z]):
        with builder.dataflow():
            y = builder.emit_output(relax.Tuple([R.exp(z), R.exp(z)]))
        builder.emit_func_output(y)
    return builder.get()


def test_modules_are_normalised_on_a_copy(tools):
    mod = module()
    before = mod.script()
    imported = import_model(mod)
    assert mod.script() == before
    assert imported.source == "relax"
    assert (imported.inputs, imported.outputs) == (("x",), ("output",))
    assert sorted(v.name_hint for v in imported.mod.get_global_vars()) == ["helper", "main"]
    assert tools.ops(imported.mod) == {"nn.relu": 1}
    assert tools.ops(imported.mod, "helper") == {"exp": 1}


def test_a_module_without_main_is_refused():
    mod = module()
    only = tvm.IRModule({v: f for v, f in mod.functions_items() if v.name_hint == "helper"})
    with pytest.raises(ModelError, match="no function 'main'; it has helper"):
        import_model(only)


def test_calls_between_functions_and_effects_stay(tools):
    builder = relax.BlockBuilder()
    z = relax.Var("z", relax.TensorType((4,), "float32"))
    with builder.function("twice", [z]):
        with builder.dataflow():
            y = builder.emit_output(R.add(z, z))
        callee = builder.emit_func_output(y)
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", [x], pure=False):
        a = builder.emit(relax.Call(callee, [x]))
        builder.emit(relax.op.print(a, format="{}"))
        builder.emit_func_output(builder.emit(R.exp(a)))
    imported = import_model(builder.get())
    relax.analysis.well_formed(imported.mod)
    assert tools.ops(imported.mod) == {"print": 1, "exp": 1}
    assert "twice" in imported.mod.script()


def test_match_cast_keeps_its_place(tools):
    n = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType(None, "float32", ndim=2))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.match_cast(x, relax.TensorType((n, 3), "float32"))
            z = builder.emit_output(R.reshape(R.exp(y), (n * 3,)))
        builder.emit_func_output(z)
    imported = import_model(builder.get())
    relax.analysis.well_formed(imported.mod)
    array = np.ones((2, 3), "f4")
    tools.close(tools.run(imported.mod, array), [np.exp(array).reshape(-1)])


def test_partitioned_functions_are_left_alone():
    mod = module()
    taken = mod["helper"].with_attr("Codegen", "acme")
    mod = tvm.IRModule({"main": mod["main"], "helper": taken})
    assert import_model(mod).mod["helper"].same_as(mod["helper"])


# -- whole models

NORMAL = {
    "squeezenet": {"nn.conv2d": 26, "add": 26, "nn.relu": 26, "concat": 8},
    "shufflenet": {"nn.conv2d": 49, "add": 63},
    "bert_tiny": {"nn.attention_bias": 2, "nn.gelu": 2, "nn.layer_norm": 5, "matmul": 13},
    "gpt2_tiny": {"nn.attention": 2, "nn.gelu_tanh": 2, "nn.layer_norm": 5, "matmul": 9},
    "vit_tiny": {"nn.attention": 2, "nn.gelu": 2, "nn.layer_norm": 5, "matmul": 13},
    "mlp": {"matmul": 4, "add": 4},
}
GONE = ("nn.batch_norm", "nn.dropout", "stack", "erf", "nn.softmax", "power", "broadcast_to")


@pytest.mark.parametrize("name", NORMAL)
def test_models_come_in_normal_form(tools, name):
    model = zoo.build(name)
    imported = import_model(model)
    relax.analysis.well_formed(imported.mod)
    ops = tools.ops(imported.mod)
    assert {op: ops.get(op) for op in NORMAL[name]} == NORMAL[name]
    if name.endswith("tiny"):
        assert not set(GONE) & set(ops)
        assert "permute_dims" not in ops or name == "vit_tiny"
    sources = {n.name for n in model.graph.node} | {o for n in model.graph.node for o in n.output}
    assert {binding for binding, _ in tools.names(imported.mod)} <= sources | {"output"}


@pytest.mark.parametrize(
    "name",
    [
        "bert_tiny",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("gpt2_tiny", "vit_tiny", "shufflenet")),
    ],
)
def test_models_keep_their_numbers(tools, name):
    model = zoo.build(name, **({"layers": 1} if name.endswith("tiny") else {}))
    imported = import_model(model)
    feeds = zoo.random_inputs(model)
    found = tools.run(imported.mod, *(feeds[n] for n in imported.inputs))
    tools.close(found, tools.reference(model, feeds), 2e-5)


@pytest.mark.parametrize("name", ["bert_tiny", "gpt2_tiny", "vit_tiny"])
def test_spelled_norms_give_the_same_ops(tools, name):
    plain, spelled = (
        tools.ops(import_model(zoo.build(name, spell_norms=flag)).mod) for flag in (False, True)
    )
    assert plain == spelled


@pytest.mark.parametrize("name", zoo.LIGHT)
def test_light_models_lose_batch_norms_and_no_ops(tools, name):
    """The nets of the onnx package as they are, fills instead of weights."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    path = next(folder.glob(f"light_*{name}.onnx"))
    if path.stem.endswith(("vgg19", "zfnet512", "alexnet")):
        pytest.skip("fills of half a gigabyte: covered by the smaller ones")
    ops = tools.ops(import_model(path).mod)
    assert "nn.batch_norm" not in ops and "broadcast_to" not in ops and "nn.dropout" not in ops
    if name == "resnet50":
        wanted = {"nn.conv2d": 53, "add": 70, "nn.relu": 49}
        assert {op: ops[op] for op in wanted} == wanted


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_a_chain_longer_than_the_stack_of_python(tools, vendors):
    """350 dense layers, 1 050 nodes: nothing follows them back from every op."""
    rng = np.random.default_rng(0)
    x = rng.random((2, 8)).astype("f4")
    nodes, weights, last, expected = [], {}, "x", x
    for i in range(350):
        weights[f"w{i}"] = np.eye(8, dtype="f4")[rng.permutation(8)]
        weights[f"b{i}"] = (rng.random(8) * 0.02 - 0.01).astype("f4")
        expected = np.maximum(expected @ weights[f"w{i}"] + weights[f"b{i}"], 0)
        nodes += [
            helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]),
            helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]),
            helper.make_node("Relu", [f"a{i}"], [f"r{i}"]),
        ]
        last = f"r{i}"
    model = tools.model(nodes, {"x": ("f4", [2, 8])}, {last: ("f4", [2, 8])}, weights)
    exe = byoc.compile(model, vendors=vendors)
    assert len(exe.report.segments) == len(vendors)
    tools.close([exe(x)], [expected])
