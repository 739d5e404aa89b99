"""Random models on vendors that fail in every way there is: the answers stay right.

A model is a random graph over two faulty vendors, on processors of their own, some of them out of
process, and the host; three in ten have a symbolic dimension and run on the VM. ``--slow`` runs 200
of them. With healing every answer is right, whatever happens; without, it is right or a named
error. This process lives on: the test ends.
"""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from tvm import relax, tirx

import byoc
from byoc.errors import ByocError, CompileError, ExecutionError, OptionError, VendorError
from byoc.runtime import Healing, Isolation
from byoc.testing.fault_injection import DEADLY, FAULTS, faulty

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (4, 8)
UNARY = {
    "nn.relu": (relax.op.nn.relu, lambda a: np.maximum(a, 0)),
    "tanh": (relax.op.tanh, np.tanh),
    "negative": (relax.op.negative, np.negative),
}
BINARY = {
    "add": (relax.op.add, np.add),
    "subtract": (relax.op.subtract, np.subtract),
    "maximum": (relax.op.maximum, np.maximum),
}
OPS = [*UNARY, *BINARY]


def random_model(rng: random.Random, symbolic: bool = False):
    """A graph of 4 to 14 ops on two inputs, and the same in numpy. symbolic: any number of rows."""
    shape = (tirx.Var("n", "int64"), SHAPE[1]) if symbolic else SHAPE
    inputs = [relax.Var(name, relax.TensorType(shape, "float32")) for name in ("a", "b")]
    steps = []
    bb = relax.BlockBuilder()
    with bb.function("main", inputs):
        with bb.dataflow():
            values = list(inputs)
            for _ in range(rng.randint(4, 14)):
                op = rng.choice(OPS)
                sources = [rng.randrange(max(0, len(values) - 5), len(values))
                           for _ in range(1 if op in UNARY else 2)]  # fmt: skip
                make, _ = (UNARY | BINARY)[op]
                values.append(bb.emit(make(*(values[i] for i in sources))))
                steps.append((op, sources))
            # Everything is used: nothing but the graph decides what runs.
            total = values[-1]
            for value in values[2:-1]:
                total = bb.emit(relax.op.add(total, value))
            result = bb.emit_output(relax.op.tanh(total))
        bb.emit_func_output(result)

    def reference(a, b):
        values = [a, b]
        for op, sources in steps:
            values.append((UNARY | BINARY)[op][1](*(values[i] for i in sources)))
        return np.tanh(sum(values[2:-1], values[-1]))

    return bb.get(), reference


def random_faults(rng: random.Random, isolated: bool, heal: bool):
    """What goes wrong at which call, or at building or loading."""
    kinds = [k for k in FAULTS if not k.startswith("refuse") and (isolated or k not in DEADLY)]
    if not heal:
        kinds.remove("nan")  # which is an answer, as long as nobody looks
    if rng.random() < 0.15:
        return rng.choice(["refuse", "refuse to load"])
    return {n: rng.choice(kinds) for n in range(1, 20) if rng.random() < 0.25}


def run_one(seed: int, tmp_path) -> list[str]:
    """One model, its faults, six requests; the kinds of fault that were met."""
    rng = random.Random(seed)
    symbolic = rng.random() < 0.3
    mod, reference = random_model(rng, symbolic)
    heal = rng.random() < 0.7
    isolate = rng.choice([["v0", "v1"], ["v0", "v1"], ["v0"], []])
    vendors = [
        faulty(
            name,
            random_faults(rng, name in isolate, heal),
            ops=rng.sample(OPS, 3),
            counter=tmp_path / f"{seed}.{name}",
            processor=processor,
            seconds=2.5 if heal else 0.2,
        )
        for name, processor in (("v0", "npu"), ("v1", "dsp"))
    ]
    healing = Healing(failures=rng.randint(1, 4), deadline=1.0, check_nan=True)
    try:
        exe = byoc.compile(
            mod,
            vendors,
            heal=healing if heal else False,
            isolate=Isolation(tuple(isolate), deadline=None if heal else 5.0, memory=700 << 20),
            min_segment_ops=1,
        )
    except ByocError as error:
        assert not heal and isinstance(error, (CompileError, VendorError))
        assert re.search(r"vendor 'v[01]'.*(refuses all|device is not there)", str(error)), error
        return ["refused"]
    exe.max_in_flight = 3
    numbers = np.random.default_rng(seed)
    met = []
    futures = []
    for _ in range(6):
        shape = (int(numbers.integers(1, 9)), SHAPE[1]) if symbolic else SHAPE
        a, b = (numbers.standard_normal(shape).astype("float32") for _ in range(2))
        futures.append((a, b, exe.submit(a, b)))
    for a, b, future in futures:
        try:
            answer = future.result(120)
        except ExecutionError as error:
            assert not heal, error
            text = str(error)
            assert re.search(r"segment 'v[01]\w*'( \(task .*\))? of vendor 'v[01]' failed: ", text)
            met.append("error")
        else:
            np.testing.assert_allclose(answer, reference(a, b), rtol=2e-5, atol=2e-5)
    segments = {s.name: s.vendor for s in exe.report.segments}
    for name, vendor in segments.items():
        own = [f for f in exe.faults if f.segment == name]
        assert sorted(f.number for f in own) == list(range(1, len(own) + 1))
        assert all(f.vendor == vendor for f in own) and len(own) <= healing.failures + 3
        met += [f.kind for f in own]
    exe.close()
    return met


def test_random_plans_and_faults(request, tmp_path):
    count = 200 if request.config.getoption("--slow") else 2
    met: set[str] = set()
    for seed in range(count):
        met |= set(run_one(seed, tmp_path))
    every = {"error", "nan", "deadline", "crash", "build", "load", "refused"}
    assert met if count < 200 else met == every  # the dice have shown every kind


def test_wrong_settings():
    with pytest.raises(OptionError, match="unknown fault 'segfalt'; did you mean 'segfault'"):
        faulty("bad", {1: "segfalt"}, ops=["nn.relu"])
    with pytest.raises(OptionError, match="'refuse' does not happen at call 3; give it alone"):
        faulty("bad", {3: "refuse"}, ops=["nn.relu"])


def test_refusals_are_in_the_report_and_in_the_file(tmp_path):
    mod, reference = random_model(random.Random(3))
    vendor = faulty("v0", "refuse", ops=OPS)
    with pytest.raises(CompileError, match="vendor 'v0' does not build segment 'v0_0'"):
        byoc.compile(mod, [vendor])
    exe = byoc.compile(mod, [vendor], heal=True)
    (warning,) = [w for w in exe.report.warnings if "left to its host twin" in w]
    assert "segment 'v0_0'" in warning and "does not build" in warning
    a, b = (np.random.default_rng(0).standard_normal(SHAPE).astype("float32") for _ in range(2))
    np.testing.assert_allclose(exe(a, b), reference(a, b), rtol=2e-5, atol=2e-5)
    (fault,) = exe.faults
    assert (fault.kind, fault.replaced) == ("build", True)
    exe.save(tmp_path / "m.byoc")
    from byoc.runtime import Session, load_program

    loaded = load_program(tmp_path / "m.byoc", lambda name: vendor.runtime)
    assert dict(loaded.refused) == {"v0_0": fault.message}
    again = Session(loaded)
    np.testing.assert_array_equal(again(a, b), exe(a, b))
    assert [f.kind for f in again.faults] == ["build"]
