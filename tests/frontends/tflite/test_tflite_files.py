"""Files that are damaged, hostile, or no TFLite at all: refused by name, in bounded time."""

import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tflite
import tflite_cases as cases
from tflite_build import Builder
from tflite_cases import weights

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model

MODELS = Path(__file__).with_name("models")
KEYWORDS = MODELS / "ds_cnn_int8.tflite"


def refused(model):
    with pytest.raises(ModelError) as caught:
        import_model(model)
    return str(caught.value)


def one(code, options="", dtype="float32", **values):
    b = Builder()
    x = b.input((1, 4), dtype, name="x")
    b.outputs += b.op(code, [x], [b.tensor((1, 4), dtype, name="y")], options, **values)
    return b.build()


def relu_model():
    return one("RELU")


# -- what is taken


def test_path_bytes_and_model_give_the_same(tmp_path):
    data = KEYWORDS.read_bytes()
    unmarked = tmp_path / "model.bin"
    unmarked.write_bytes(data)
    given = [
        KEYWORDS, str(KEYWORDS), unmarked, data, memoryview(data),
        tflite.Model.GetRootAsModel(data, 0),
    ]  # fmt: skip
    found = [import_model(g) for g in given]
    assert {m.source for m in found} == {"tflite"}
    assert len({m.outputs for m in found}) == 1
    assert found[2].name == "model"


def test_int4_weights_are_unpacked():
    b = Builder()
    x = b.input((1, 3))
    stored = np.array([[-8, 7, 1], [0, -1, 3]])
    low, high = np.append(stored.ravel(), []).reshape(-1, 2).astype(int).T
    packed = ((low & 15) | ((high & 15) << 4)).astype(np.uint8).tobytes()
    w = b.tensor((2, 3), "int4", packed, scale=0.5, zero=0)
    b.outputs += b.op("FULLY_CONNECTED", [x, w, -1], [b.tensor((1, 2))], "FullyConnectedOptions")
    exe = byoc.compile(b.build())
    value = np.array([[1, 2, 3]], np.float32)
    np.testing.assert_allclose(exe(value), value @ (stored.T * 0.5))


# -- what is not


def test_wrong_files_are_named(tmp_path):
    text = tmp_path / "model.tflite"
    text.write_bytes(b"ceci n'est pas un model")
    assert "expected b'TFL3'" in refused(text)
    text.write_bytes(b"TFL")
    assert "has 3 bytes" in refused(text)
    text.write_bytes(b"")
    assert "is empty" in refused(text)
    assert "no such file" in refused(tmp_path / "none.tflite")
    (tmp_path / "folder.tflite").mkdir()
    assert "is a directory" in refused(tmp_path / "folder.tflite")
    assert "is a damaged or truncated ONNX model" in refused(b"\x08\x07ONNX bytes are no path")


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    assert "pip install 'tvm-byoc[tflite]'" in refused(KEYWORDS)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_named(tmp_path, share):
    data = KEYWORDS.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(len(data) * share)])
    assert str(path) in refused(path)


def test_unknown_operators_are_listed_with_tensor_and_count():
    b = Builder()
    x = b.input((1, 4), name="x")
    (y,) = b.op("MyOp", [x], [b.tensor((1, 4), name="first")])
    (y,) = b.op("MyOp", [y], [b.tensor((1, 4))])
    (y,) = b.op("FlexErfc", [y], [b.tensor((1, 4), name="flex")])
    b.outputs += b.op("SVDF", [y], [b.tensor((1, 4), name="state")])
    text = refused(b.build())
    assert "subgraph 0 has 4 of 4 operators that byoc cannot import" in text
    assert "custom operator 'MyOp' (2, first at 'first')" in text
    assert "FlexErfc [an operator of TensorFlow: convert the model without SELECT_TF_OPS]" in text
    assert "SVDF [it keeps a state between runs, a compiled model has none]" in text


def test_operators_name_themselves_and_their_tensor():
    text = refused(one("CONV_2D"))
    assert "subgraph 0: operator 0 (CONV_2D) at 'y' cannot be imported" in text
    assert "its Conv2DOptions are missing" in text
    assert "its options are of type" in refused(one("SOFTMAX", "Conv2DOptions"))


def test_zero_strides_are_refused():
    b = Builder()
    x = b.input((1, 4, 4, 2))
    b.outputs += b.op(
        "CONV_2D", [x, b.const(weights(2, 3, 3, 2))], [b.tensor((1, 4, 4, 2))], "Conv2DOptions"
    )
    assert "must be 1 or more" in refused(b.build())


def test_types_that_the_file_declares_are_held_against_it():
    b = Builder()
    x = b.input((1, 4))
    b.outputs += b.op("RELU", [x], [b.tensor((1, 5), name="y")])
    assert "gives shape (1, 4), the file declares 'y' (1, 5)" in refused(b.build())
    b = Builder()
    b.outputs += b.op("RELU", [b.input((1, 4))], [b.tensor((1, 4), "int32", name="y")])
    assert "gives float32, the file declares 'y' int32" in refused(b.build())


def test_data_that_does_not_fit_its_shape_is_named():
    b = Builder()
    x = b.input((1, 4))
    w = b.tensor((1, 4), "float32", b"\0" * 12, name="w")
    b.outputs += b.op("ADD", [x, w], [b.tensor((1, 4))], "AddOptions")
    assert "tensor 'w' of float32[1, 4] has 12 bytes of data" in refused(b.build())


def test_values_that_nobody_makes_are_named():
    b = Builder()
    b.input((1, 4))
    b.outputs += b.op("RELU", [b.tensor((1, 4), name="ghost")], [b.tensor((1, 4))])
    assert "tensor 'ghost' is read, but nothing before it makes it" in refused(b.build())


def test_huge_shapes_are_refused():
    b = Builder()
    big = (2**31 - 1, 2**31 - 1)
    b.outputs += b.op("RELU", [b.input(big, name="x")], [b.tensor(big)])
    assert "tensor 'x' has shape (2147483647, 2147483647)" in refused(b.build())


def test_fill_of_a_huge_constant_is_refused():
    b = Builder()
    b.input((1,))
    size, value = b.const(np.array([2**30, 64], np.int32)), b.const(np.array(1.0, np.float32))
    b.outputs += b.op("FILL", [size, value], [b.tensor((2**30, 64))])
    assert "a constant of shape (1073741824, 64)" in refused(b.build())


def test_wrong_scales_are_refused():
    b = Builder()
    x = b.input((1, 4), "int8", scale=float("nan"), name="x")
    b.outputs += b.op("RELU", [x], [b.tensor((1, 4), "int8", scale=1)])
    assert "'x' has a scale that is not positive and finite" in refused(b.build())


def mutated(data, rng):
    """The file with a few bytes or words replaced, a piece copied over another, or its end cut."""
    data, kind = bytearray(data), rng.random()
    if kind < 0.1:
        return bytes(data[: rng.randrange(len(data))])
    if kind < 0.2:
        a, b, n = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 64)
        data[a : a + n] = data[b : b + n]
        return bytes(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(8, len(data))
        if rng.random() < 0.5:
            data[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        else:
            words = (b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0" * 4, rng.randbytes(4))
            data[at & ~3 : (at & ~3) + 4] = rng.choice(words)
    return bytes(data)


def fuzz(seed, count):
    rng = random.Random(seed)
    seeds = [cases.build([name])[0] for name in sorted(cases.CASES)]
    taken = 0
    for _ in range(count):
        data = mutated(rng.choice(seeds), rng)
        start = time.process_time()
        try:
            import_model(data)
            taken += 1
        except ModelError as error:
            assert str(error)
        assert time.process_time() - start < 30, "bounded, also on a busy machine"
    return taken


def test_mutated_files_are_read_or_refused():
    assert 0 < fuzz(0, 150) < 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_mutated_files_are_read_or_refused(seed):
    assert 0 < fuzz(seed, 1000) < 1000
