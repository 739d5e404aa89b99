"""Plans: every task once, in an order that respects dependencies, on memory that never overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import ExternFunc
from tvm.relax.op import call_dps_packed

from byoc.build.memory_plan import make_plan
from byoc.errors import CompileError
from byoc.ir.ports import port_types
from byoc.runtime.plan import Plan, decode_plan, encode_plan


def tensor(*shape: int, dtype: str = "float32") -> relax.TensorType:
    return relax.TensorType(shape, dtype)


def call(name: str, args, ty):
    return call_dps_packed(ExternFunc(name), relax.Tuple(args), out_ty=ty)


def chain(length: int) -> relax.Function:
    """x → t0 → t1 → … → result, each a call with one input."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(16, 4))
    with bb.function("main", [x]):
        with bb.dataflow():
            value = x
            for i in range(length):
                value = bb.emit(call(f"t{i}", [value], tensor(16, 4)), name_hint=f"layer{i}")
            out = bb.emit_output(value)
        bb.emit_func_output(out)
    return bb.get()["main"]


def test_a_chain_needs_two_buffers():
    plan = make_plan(chain(10), ["x"], ["y"]).plan
    assert [task.function for task in plan.tasks] == [f"t{i}" for i in range(10)]
    assert plan.tasks[3].deps == (2,)
    assert plan.tasks[3].source == ("layer3",)
    assert plan.arena_bytes == 2 * 16 * 4 * 4
    assert plan.tensors[plan.outputs[0].tensor].place == "output"
    assert decode_plan(encode_plan(plan)) == plan


def test_reshapes_are_views():
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(2, 8))
    with bb.function("main", [x]):
        with bb.dataflow():
            view = bb.emit(relax.op.reshape(x, (4, 4)))
            made = bb.emit(call("f", [view], tensor(4, 4)))
            out = bb.emit_output(relax.op.reshape(made, (16,)))
        bb.emit_func_output(out)
    plan = make_plan(bb.get()["main"], ["x"], ["y"]).plan
    (task,) = plan.tasks
    source, target = (plan.tensors[arg] for arg in task.args)
    assert (source.place, source.shape) == ("input", (4, 4))
    assert (target.place, target.shape) == ("output", (4, 4))
    assert plan.tensors[plan.outputs[0].tensor].shape == (16,)
    assert plan.arena_bytes == 0


def test_outputs_that_no_task_writes_are_copied():
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(3))
    const = relax.const(np.arange(3, dtype="float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            made = bb.emit(call("f", [x, const], tensor(3)))
            out = bb.emit_output(relax.Tuple([x, const, made, made]))
        bb.emit_func_output(out)
    main = bb.get()["main"]
    planned = make_plan(main, ["x"], ["a", "b", "c", "d"])
    kinds = [task.kind for task in planned.plan.tasks]
    assert kinds == ["segment", "copy", "copy", "copy"]
    assert planned.plan.tasks[-1].deps == (0,)
    assert len(planned.constants) == 1
    np.testing.assert_array_equal(planned.constants[0], [0, 1, 2])
    assert [port.name for port in port_types(main, ["x"], list("abcd"))[1]] == list("abcd")


def test_several_outputs_of_one_task():
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(4))
    with bb.function("main", [x]):
        with bb.dataflow():
            both = bb.emit(call("f", [x], [tensor(2), tensor(3)]))
            out = bb.emit_output(call("g", [both[1]], tensor(5)))
        bb.emit_func_output(out)
    plan = make_plan(bb.get()["main"], ["x"], ["y"]).plan
    assert [(task.outputs, len(task.args)) for task in plan.tasks] == [(2, 3), (1, 2)]
    assert plan.tasks[1].args[0] == plan.tasks[0].args[2]


def test_what_the_host_left_over_is_an_internal_error():
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(4))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.exp(x))
        bb.emit_func_output(out)
    with pytest.raises(CompileError, match=r"left op relax\.exp"):
        make_plan(bb.get()["main"], ["x"], ["y"])


@st.composite
def graphs(draw):
    """A random DAG of calls: per task its inputs, its outputs' sizes, and its processor."""
    tasks = []
    values = 1
    for _ in range(draw(st.integers(1, 14))):
        inputs = draw(st.lists(st.integers(0, values - 1), min_size=1, max_size=3))
        sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=2))
        tasks.append((inputs, sizes, draw(st.sampled_from(["cpu", "npu"]))))
        values += len(sizes)
    results = draw(st.lists(st.integers(0, values - 1), min_size=1, max_size=3))
    return tasks, results


def build(tasks, results) -> relax.Function:
    bb = relax.BlockBuilder()
    x = relax.Var("x", tensor(8))
    values = [x]
    with bb.function("main", [x]):
        with bb.dataflow():
            for number, (inputs, sizes, _) in enumerate(tasks):
                args = [values[i] for i in inputs]
                types = [tensor(size) for size in sizes]
                made = bb.emit(call(f"t{number}", args, types if len(types) > 1 else types[0]))
                outputs = [made[i] for i in range(len(types))] if len(types) > 1 else [made]
                values += [bb.emit(item) for item in outputs]
            out = bb.emit_output(relax.Tuple([values[i] for i in results]))
        bb.emit_func_output(out)
    return bb.get()["main"]


def run(plan: Plan, order: list[int]) -> list[np.ndarray]:
    """Run a plan in any order: a task writes its number plus the sum of what it reads."""
    arena = np.zeros(plan.arena_bytes, np.uint8)
    inputs = [np.arange(8, dtype="float32").view(np.uint8)]
    outputs = [
        np.zeros(int(np.prod(plan.tensors[p.tensor].shape)) * 4, np.uint8) for p in plan.outputs
    ]
    places = {"input": inputs, "output": outputs, "arena": [arena]}

    def view(number: int) -> np.ndarray:
        t = plan.tensors[number]
        raw = places[t.place][t.index]
        size = int(np.prod(t.shape)) * 4
        assert t.offset % 64 == 0 and t.offset + size <= raw.nbytes
        return raw[t.offset : t.offset + size].view("float32")

    for number in order:
        task = plan.tasks[number]
        (*reads,) = task.args[: len(task.args) - task.outputs]
        total = sum(float(view(r).sum()) for r in reads)
        for position, write in enumerate(task.args[len(reads) :]):
            if task.kind == "copy":
                view(write)[:] = view(reads[0])
            else:
                view(write)[:] = (total + number + position) % 1009
    return [raw.view("float32").copy() for raw in outputs]


@settings(max_examples=150, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_any_order_that_respects_dependencies_gives_the_same_answer(graph, random):
    tasks, results = graph
    main = build(tasks, results)
    names = [f"y{i}" for i in range(len(results))]
    processors = {f"t{i}": processor for i, (_, _, processor) in enumerate(tasks)}
    plan = make_plan(main, ["x"], names, processors).plan
    written = run(plan, list(range(len(plan.tasks))))

    # Queues are in order; between them only dependencies hold: draw a random legal order.
    waiting = list(range(len(plan.tasks)))
    order: list[int] = []
    while waiting:
        heads = {}
        for number in waiting:
            heads.setdefault(plan.tasks[number].processor, number)
        ready = [n for n in heads.values() if set(plan.tasks[n].deps) <= set(order)]
        chosen = random.choice(ready)
        order.append(chosen)
        waiting.remove(chosen)
    for expected, found in zip(written, run(plan, order), strict=True):
        np.testing.assert_array_equal(expected, found)
