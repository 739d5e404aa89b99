"""Integer products by an instruction: the numbers of int64 numpy, whatever the shapes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import CompileError
from byoc.tir.features import cpu_features_of_llvm
from byoc.vendor_templates.tensorir import VENDOR
from byoc.vendor_templates.tensorir.instruction import (
    INSTRUCTIONS,
    Einsum,
    Instruction,
    NoImageError,
    mapping,
)

USABLE = [i.name for i in INSTRUCTIONS if cpu_features_of_llvm().issuperset(i.features)]
FIXED = [(1, 1, 1), (1, 64, 16), (6, 4, 64), (7, 3, 17), (13, 31, 67), (64, 128, 48), (5, 1, 33)]
SIGNED = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def many_products(cases) -> onnx.ModelProto:
    """One model with an own product for each (shape, dtype, weights, zero point or None)."""
    nodes, inputs, outputs, arrays = [], [], [], []
    for n, (shape, dtype, weight, zero) in enumerate(cases):
        inputs.append(helper.make_tensor_value_info(f"x{n}", SIGNED[dtype], shape))
        out = (*shape[:-1], weight.shape[1])
        outputs.append(helper.make_tensor_value_info(f"y{n}", TensorProto.INT32, out))
        arrays.append(numpy_helper.from_array(weight, f"w{n}"))
        names = [f"x{n}", f"w{n}"]
        if zero is not None:
            inputs.append(helper.make_tensor_value_info(f"z{n}", SIGNED[dtype], ()))
            names.append(f"z{n}")
        nodes.append(helper.make_node("MatMulInteger", names, [f"y{n}"], f"product{n}"))
    graph = helper.make_graph(nodes, "products", inputs, outputs, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def drawn(shape, columns, dtype, shifted, rng):
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    w = rng.integers(-128, 128, (shape[-1], columns)).astype("int8")
    zero = np.array(rng.integers(limits.min, limits.max + 1), dtype) if shifted else None
    return x, w, zero


@pytest.mark.parametrize("name", USABLE)
def test_it_is_exact_on_any_shape(name, tmp_path):
    rng = np.random.default_rng([USABLE.index(name), 18])
    check_sizes([*FIXED, *random_sizes(rng, 5)], name, rng, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("seed", range(10))
def test_it_is_exact_on_many_shapes(name, seed, tmp_path):
    rng = np.random.default_rng([seed, 19])
    check_sizes(random_sizes(rng, 25), name, rng, tmp_path)


def random_sizes(rng, count):
    return [tuple(map(int, rng.integers(1, 70, 3))) for _ in range(count)]


def check_sizes(sizes, name, rng, tmp_path):
    """Products of (rows, depth, columns), each signed or not, shifted or not, are exact."""
    cases, given, expected = [], {}, []
    for n, (rows, depth, columns) in enumerate(sizes):
        shape = (rows, depth) if n % 5 else (2, rows, depth)
        dtype = ("uint8", "int8")[int(rng.integers(2))]
        x, w, zero = drawn(shape, columns, dtype, bool(rng.integers(2)), rng)
        cases.append((shape, dtype, w, zero))
        given[f"x{n}"] = x
        if zero is not None:
            given[f"z{n}"] = zero
        expected.append(
            (x.astype("int64") - (0 if zero is None else int(zero))) @ w.astype("int64")
        )
    onnx.save(many_products(cases), tmp_path / "products.onnx")
    exe = byoc.compile(
        str(tmp_path / "products.onnx"),
        vendors={VENDOR: {"instruction": name}},
        min_segment_ops=1,
    )
    owners = {task.vendor for task in exe.profile(given).tasks}
    assert owners == {"tensorir"}, "a product was left to the host"
    found = exe.run(given)
    for n, want in enumerate(expected):
        np.testing.assert_array_equal(found[f"y{n}"], want, err_msg=f"{cases[n][:2]}")


def test_a_refusal_names_the_iterator_that_has_no_image():
    outer = Instruction("outer", Einsum("m, n -> mn", {"m": 4, "n": 4}, ("f", "f", "f")), max)
    dot = Einsum("k, k -> ", {"k": 8}, ("f", "f", "f"))
    with pytest.raises(NoImageError, match=r"iterator m of outer \(.*, in a and c\) has no image"):
        mapping(dot, outer)
    op = Einsum("mk, kn -> mn", {"m": 3, "k": 5, "n": 7}, ("f", "f", "f"))
    assert mapping(op, outer) == {"m": "m", "n": "n"}
    assert mapping(op, INSTRUCTIONS[0]) == {"n": "n", "k": "k"}


def test_what_is_not_taken_says_why(tmp_path):
    weight = np.full((4, 4), 7, "uint8")
    weight[0, 0] = 200
    onnx.save(many_products([((2, 4), "uint8", weight, None)]), tmp_path / "m.onnx")
    report = byoc.partition_model(str(tmp_path / "m.onnx"), vendors=[VENDOR]).report
    assert "the weights do not fit int8: they are 7 to 200" in str(report)


def test_the_instruction_is_in_the_code(tmp_path):
    if "vnni" not in USABLE:
        pytest.skip("this CPU has no AVX512_VNNI")
    rng = np.random.default_rng(3)
    x, w, _ = drawn((32, 64), 64, "uint8", False, rng)
    onnx.save(many_products([(x.shape, "uint8", w, None)]), tmp_path / "m.onnx")
    exe = byoc.compile(str(tmp_path / "m.onnx"), vendors=[VENDOR], min_segment_ops=1)
    assert "vpdpbusd" in exe._program.host.module.inspect_source("asm")
    (artifact,) = exe._program.artifacts
    assert artifact.requires.cpu_features == ("avx512vnni",)


def test_an_instruction_that_is_not_there_is_refused(tmp_path, monkeypatch):
    import byoc.tir.features as features

    monkeypatch.setattr(features, "cpu_features_of_llvm", lambda: frozenset({"sse2"}))
    onnx.save(
        many_products([((2, 4), "uint8", np.ones((4, 4), "int8"), None)]), tmp_path / "m.onnx"
    )
    with pytest.raises(CompileError, match="'vnni' needs avx512vnni, which this CPU lacks"):
        byoc.compile(
            str(tmp_path / "m.onnx"), vendors={VENDOR: {"instruction": "vnni"}}, min_segment_ops=1
        )
