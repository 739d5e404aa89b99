"""Session: inputs and outputs of every kind, errors that help, faults, threads."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.errors import ArtifactError, ExecutionError, InputError
from byoc.runtime import Session, num_threads, set_num_threads
from byoc.runtime.plan import Plan, PlanTensor, Port, Task

DTYPES = [
    "float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool",
    "bfloat16", "float8_e4m3fn",
]  # fmt: skip


def _sample(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 5, shape)
    return values.astype(getattr(ml_dtypes, dtype) if hasattr(ml_dtypes, dtype) else dtype)


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (1,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(make, dtype, shape):
    session = Session(make("x[0]", shape, dtype))
    x = _sample(dtype, shape)
    y = session(x)
    assert y.dtype == x.dtype and y.shape == shape
    np.testing.assert_array_equal(y, x)


def test_names_and_positions(make):
    session = Session(make("x[0] - x[1]", inputs=2))
    a, b = np.full((2, 3), 5, "float32"), np.full((2, 3), 3, "float32")
    assert session.input_names == ("x0", "x1") and session.output_names == ("y",)
    for y in (
        session(a, b),
        session.run_positional([a, b])[0],
        session.run({"x1": b, "x0": a})["y"],
    ):
        assert (y == 2).all()


def test_results_are_fresh_and_writeable(make):
    session = Session(make("x[0] * 2"))
    x = np.ones((2, 3), "float32")
    first = session(x)
    first += 100
    second = session(x)
    assert (second == 2).all() and (first == 102).all()
    assert first.__array_interface__["data"][0] % 64 == 0


def test_inputs_of_any_layout(kernel_program):
    session = Session(kernel_program)
    x = np.random.default_rng(1).standard_normal((64, 16)).astype("float32")
    expected = x + 1 + 1 + np.float32(0.5)
    unaligned = np.zeros(64 * 16 * 4 + 4, np.uint8)[4:].view("float32").reshape(64, 16)
    unaligned[...] = x
    odd = np.zeros(64 * 16 * 4 + 1, np.uint8)[1:].view("float32").reshape(64, 16)
    odd[...] = x
    read_only = unaligned.copy()
    read_only.flags.writeable = False
    wide = np.zeros((64, 32), "float32")
    wide[:, ::2] = x
    for array in (x, unaligned, odd, read_only, np.asfortranarray(x), wide[:, ::2], x[::-1][::-1]):
        before = array.copy()
        np.testing.assert_array_equal(session(array), expected)
        np.testing.assert_array_equal(array, before)


def test_dlpack_in(make):
    import tvm_ffi

    session = Session(make("x[0] + 1"))
    x = np.ones((2, 3), "float32")

    class Foreign:  # what torch, jax and others look like
        def __dlpack__(self, **kwargs):
            return x.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return x.__dlpack_device__()

    class OnGpu(Foreign):
        def __dlpack_device__(self):
            return (2, 0)

    for value in (Foreign(), tvm_ffi.from_dlpack(x)):
        assert (session(value) == 2).all()
    with pytest.raises(InputError, match=r"'x0' is on DLPack device \(2, 0\), expected CPU memory"):
        session(OnGpu())


def test_bfloat16_through_dlpack(make):
    torch = pytest.importorskip("torch")
    session = Session(make("x[0]", (3,), "bfloat16"))
    y = session(torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16))
    assert y.tolist() == [1, 2, 3]


def test_outputs_given_by_the_caller(kernel_program):
    session = Session(kernel_program)
    x = np.ones((64, 16), "float32")
    y = np.zeros((64, 16), "float32")
    assert session.run({"x": x}, {"y": y})["y"] is y and (y == 3.5).all()
    assert session.run({"x": x}, {"y": x})["y"] is x and (x == 3.5).all()  # in place
    for bad, message in (
        (np.zeros((64, 15), "float32"), r"shape \(64, 15\), expected \(64, 16\)"),
        (np.zeros((64, 16)), "dtype float64, expected float32"),
        (np.zeros((16, 64), "float32").T, "C-contiguous, writeable"),
        ([1.0], "numpy array, found list"),
    ):
        with pytest.raises(InputError, match=message):
            session.run({"x": x}, {"y": bad})
    with pytest.raises(InputError, match="no output 'z'; legal: y"):
        session.run({"x": x}, {"z": y})


def test_wrong_inputs_are_explained(make):
    session = Session(make("x[0]", inputs=2))
    x = np.zeros((2, 3), "float32")
    cases = {
        "takes 2 inputs (x0, x1), got 1": lambda: session(x),
        "no input 'x2'; legal: x0, x1": lambda: session.run({"x2": x}),
        "input 'x1' is missing; the model's inputs: x0, x1": lambda: session.run({"x0": x}),
        "mapping from names to arrays, found list": lambda: session.run([x, x]),
        "input 'x1' has shape (3, 2), expected (2, 3)": lambda: session(x, x.reshape(3, 2)),
        "input 'x0' has dtype float64, expected float32; nothing is cast": lambda: session(
            x.astype("float64"), x
        ),
        "float32 in foreign byte order": lambda: session(x.astype(">f4"), x),
        "input 'x0' is a list, expected a numpy array": lambda: session([1, 2], x),
    }
    for message, call in cases.items():
        with pytest.raises(InputError) as caught:
            call()
        assert message in str(caught.value)


def test_a_failing_segment_is_named_and_the_session_goes_on(make):
    session = Session(make("1 / 0 if x[0].max() > 5 else x[0]"))
    with pytest.raises(ExecutionError) as caught:
        session(np.full((2, 3), 9, "float32"))
    for part in ("segment 'numpy_0'", "task 0", "layer/op", "vendor 'numpy'", "division by zero"):
        assert part in str(caught.value)
    assert (session(np.ones((2, 3), "float32")) == 1).all()


def test_segments_see_read_only_inputs_and_their_options(make):
    session = Session(make("x[0] * c[0] + o['shift']", constants=(np.float32([2, 3, 4]),), shift=1))
    np.testing.assert_array_equal(session(np.ones((2, 3), "float32")), [[3, 4, 5]] * 2)
    with pytest.raises(ExecutionError, match="read-only"):
        Session(make("x[0].fill(0)"))(np.ones((2, 3), "float32"))


def test_constants_of_any_layout(make):
    c = np.arange(6, dtype=">f4").reshape(3, 2).T
    session = Session(make("x[0] + c[0]", constants=(c,)))
    np.testing.assert_array_equal(session(np.zeros((2, 3), "float32")), c)


def test_sessions_are_freed_at_once(make):
    import weakref

    weights = np.zeros(10_000, "float32")
    session = Session(make("x[0]", constants=(weights,)))
    session(np.zeros((2, 3), "float32"))
    gone = weakref.ref(session)
    del session
    assert gone() is None


def test_threads_share_a_session(kernel_program):
    session = Session(kernel_program)
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            x = rng.standard_normal((64, 16)).astype("float32")
            if not np.array_equal(session(x), x + 1 + 1 + np.float32(0.5)):
                wrong.append(f"thread {seed}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_session_may_run_inside_another(make):
    inner = Session(make("x[0] + 1"))
    program = make("o['inner'](x[0]) * 2", inner=inner)
    assert (Session(program)(np.ones((2, 3), "float32")) == 4).all()


def test_several_processors(make):
    """Two lanes that wait for each other, over and over."""
    shape, dtype = (8,), "float32"
    tensors = [PlanTensor(shape, dtype, "input"), PlanTensor(shape, dtype, "output")]
    tensors += [PlanTensor(shape, dtype, "arena", 0, 64 * i) for i in range(6)]
    chain = [0, 2, 3, 4, 5, 6, 7, 1]
    tasks = tuple(
        Task("segment", "numpy_0", (a, b), 1, (i - 1,) if i else (), ("cpu", "npu")[i % 2])
        for i, (a, b) in enumerate(itertools.pairwise(chain))
    )
    base = make("x[0] * 2", shape)
    plan = Plan((Port("x0", 0),), (Port("y", 1),), tuple(tensors), tasks, 384)
    session = Session(dataclasses.replace(base, body=plan))
    for value in range(20):
        assert (session(np.full(shape, value, dtype)) == value * 2**7).all()


def test_programs_that_do_not_hold_together(make):
    program = make("x[0]")
    plan = program.body
    assert isinstance(plan, Plan)

    def broken(**changes):
        return dataclasses.replace(program, body=dataclasses.replace(plan, **changes))

    task = plan.tasks[0]
    cases = {
        "plan has version 99, this byoc reads version 1": broken(version=99),
        "inputs of the plan (z) and of the model (x0) differ": broken(inputs=(Port("z", 0),)),
        "calls segment 'numpy_7', which the program does not have; did you mean 'numpy_0'?": broken(
            tasks=(dataclasses.replace(task, function="numpy_7"),)
        ),
        "the host library has no such kernel": broken(
            tasks=(dataclasses.replace(task, kind="host", function="k"),)
        ),
        "is not between 0 and 1": broken(tasks=(dataclasses.replace(task, args=(0, 5)),)),
        "input 'x0' is float32[2, 3] in the model, but not in the plan": broken(
            tensors=(PlanTensor((6,), "float32", "input"), plan.tensors[1])
        ),
        "needs vendor 'numpy', which the program does not list": dataclasses.replace(
            program, vendors={}
        ),
        "two segments are called 'numpy_0'": dataclasses.replace(
            program, artifacts=program.artifacts * 2
        ),
        "the host library does not load": dataclasses.replace(program, host=b"no library"),
    }
    for message, bad in cases.items():
        with pytest.raises(ArtifactError) as caught:
            Session(bad)
        assert message in str(caught.value)


_WHERE = """
import sys
from pathlib import Path
import numpy as np
import byoc

def threads():
    return {(t / "comm").read_text().strip() for t in Path("/proc/self/task").iterdir()}

exe = byoc.load(sys.argv[1])
x = np.ones((4, 8), "float32")
y = exe(x)
assert "byoc:cpu" not in threads(), threads()  # nobody had to be woken up
assert np.array_equal(exe.submit(x).result(), y)
assert "byoc:cpu" in threads(), threads()
assert np.array_equal(exe(x), y)
"""


def test_with_one_thread_the_caller_works_itself(tmp_path):
    node = helper.make_node("Softmax", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 8]) for n in "xy"]
    graph = helper.make_graph([node], "one", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    byoc.compile(model, vendors=[]).save(tmp_path / "m.byoc")
    command = [sys.executable, "-c", _WHERE, str(tmp_path / "m.byoc")]
    environment = {**os.environ, "BYOC_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_python_hosted_vendors_stay_on_their_thread(make):
    before = num_threads()
    set_num_threads(1)
    try:
        session = Session(make("x[0] * 0 + __import__('threading').get_native_id()", dtype="int64"))
        seen = {int(session(np.ones((2, 3), "int64"))[0, 0]) for _ in range(3)}
    finally:
        set_num_threads(before)
    assert len(seen) == 1 and threading.get_native_id() not in seen
