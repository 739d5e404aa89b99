"""Host twins: every kind of failure, the answer right all the same, or the named error without."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
import time

import numpy as np
import pytest
from runtime_programs import elementwise

from byoc.errors import ArtifactError, ExecutionError, OptionError
from byoc.runtime import (
    Fault,
    Healing,
    Program,
    Session,
    Twin,
    VendorUse,
    load_program,
    save_program,
)
from byoc.runtime.plan import Plan, PlanTensor, Port, Task

SHAPE = (64, 16)  # what the host kernel `add_one` takes
X = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
PORTS = (PlanTensor(SHAPE, "float32", "input"), PlanTensor(SHAPE, "float32", "output"))
ADD_ONE = Plan((Port("x0", 0),), (Port("y0", 1),), PORTS, (Task("host", "add_one", (0, 1), 1),), 0)


class Vendor:
    """x + 1, except that call n fails as `faults` says: n → kind."""

    def __init__(self, faults: dict[int, str] | str | None = None) -> None:
        self.faults = faults
        self.calls = 0
        self.lock = threading.Lock()
        self.free = threading.Event()

    def __call__(self, x):
        with self.lock:
            self.calls += 1
            number = self.calls
        faults = self.faults
        kind = faults if isinstance(faults, str) else (faults or {}).get(number)
        if kind == "throw":
            raise RuntimeError("the device is on fire")
        if kind == "memory":
            raise MemoryError("no memory left")
        if kind == "sleep":
            self.free.wait(20)
        return x * np.nan if kind == "nan" else x + 1


def program(kernel_library, *vendors: Vendor, healing=None, processors=None) -> Program:
    """y = x + len(vendors): a chain of segments, each with a twin."""
    base = elementwise("x[0]", SHAPE)
    count = len(vendors)
    tensors = list(PORTS)
    tensors += [PlanTensor(SHAPE, "float32", "arena", 0, 4096 * i) for i in range(count - 1)]
    chain = [0, *range(2, count + 1), 1]
    processors = processors or ["npu"] * count
    tasks = tuple(
        Task("segment", f"s{i}", (a, b), 1, (i - 1,) if i else (), processors[i])
        for i, (a, b) in enumerate(itertools.pairwise(chain))
    )
    (artifact,) = base.artifacts
    options = {f"v{i}": vendor for i, vendor in enumerate(vendors)}
    return dataclasses.replace(
        base,
        body=Plan((Port("x0", 0),), (Port("y", 1),), tuple(tensors), tasks, 4096 * count),
        host=kernel_library,
        artifacts=tuple(
            dataclasses.replace(artifact, segment=f"s{i}", blob=f"o['v{i}'](x[0])".encode())
            for i in range(count)
        ),
        vendors={"numpy": VendorUse("1", options, base.vendors["numpy"].runtime, "npu")},
        twins={f"s{i}": Twin(ADD_ONE) for i in range(count)},
        healing=healing or Healing(),
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [("throw", "the device is on fire"), ("memory", "no memory left"), ("nan", "NaN in output 0"),
     ("sleep", "no answer within 0.1")],
)  # fmt: skip
def test_each_kind_of_failure(kernel_library, caplog, kind, message):
    vendor = Vendor({2: kind})
    healing = Healing(check_nan=kind == "nan", deadline=0.1 if kind == "sleep" else None)
    session = Session(program(kernel_library, vendor, healing=healing))
    for _ in range(4):
        np.testing.assert_array_equal(session(X), X + 1)
    vendor.free.set()
    (fault,) = session.faults
    kinds = {"nan": "nan", "sleep": "deadline"}
    assert (fault.segment, fault.vendor, fault.number) == ("s0", "numpy", 1)
    assert fault.kind == kinds.get(kind, "error") and message in fault.message
    assert not fault.replaced and vendor.calls == 4
    assert "its host twin answered" in caplog.text and "'s0'" in caplog.text


def test_nan_is_only_looked_for_where_told(kernel_library):
    session = Session(program(kernel_library, Vendor("nan")))
    assert np.isnan(session(X)).all() and session.faults == ()


def test_after_some_failures_the_twin_takes_over(kernel_library, caplog):
    vendor = Vendor("throw")
    session = Session(program(kernel_library, vendor, healing=Healing(failures=2)))
    for _ in range(5):
        np.testing.assert_array_equal(session(X), X + 1)
    assert vendor.calls == 2 and [f.replaced for f in session.faults] == [False, True]
    assert "takes over for good" in caplog.text


def test_without_a_twin_the_error_is_named(kernel_library):
    bare = dataclasses.replace(program(kernel_library, Vendor("throw")), twins={})
    with pytest.raises(ExecutionError, match="segment 's0'.* of vendor 'numpy' failed.*on fire"):
        Session(bare)(X)


def test_a_twin_that_fails_too(kernel_library):
    other = Plan(ADD_ONE.inputs, ADD_ONE.outputs, PORTS, (Task("host", "none", (0, 1), 1),), 0)
    wrong = dataclasses.replace(program(kernel_library, Vendor("throw")), twins={"s0": Twin(other)})
    with pytest.raises(
        ExecutionError, match=r"on fire.*; its host twin failed, too: .*no such kern"
    ):
        Session(wrong)(X)


def test_what_is_left_behind_writes_nowhere(kernel_library):
    """An answer that comes too late must not reach the caller's memory or the next call's."""
    vendor = Vendor({1: "sleep"})
    session = Session(program(kernel_library, vendor, healing=Healing(deadline=0.1)))
    first = session(X)
    second = session(X * 2)
    vendor.free.set()  # the first call goes on now, and writes
    time.sleep(0.1)
    np.testing.assert_array_equal(first, X + 1)
    np.testing.assert_array_equal(second, X * 2 + 1)
    assert [f.kind for f in session.faults] == ["deadline"]


def test_random_plans_and_faults(kernel_library, request):
    """Chains over processors, every segment failing as it likes, several requests in flight."""
    rng = random.Random(0)
    for _ in range(200 if request.config.getoption("--slow") else 25):
        count = rng.randint(1, 5)
        kinds = ["throw", "memory", "nan"]
        vendors = [
            Vendor({n: rng.choice(kinds) for n in range(1, 9) if rng.random() < 0.4})
            for _ in range(count)
        ]
        session = Session(
            program(
                kernel_library,
                *vendors,
                healing=Healing(failures=rng.randint(1, 4), check_nan=True),
                processors=[rng.choice(["cpu", "npu", "dsp"]) for _ in range(count)],
            ),
            max_in_flight=4,
        )
        inputs = [X * i for i in range(8)]
        for x, y in zip(inputs, session.map(inputs), strict=True):
            expected = x
            for _ in range(count):
                expected = expected + 1
            np.testing.assert_array_equal(y, expected)
        for i in range(count):
            numbers = [f.number for f in session.faults if f.segment == f"s{i}"]
            assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_twins_are_kept_in_the_file(kernel_library, resolver, tmp_path):
    weights = np.arange(20_000, dtype="float32")
    base = program(kernel_library, Vendor(), healing=Healing(5, 0.5, True))
    (artifact,) = base.artifacts
    base = dataclasses.replace(
        base,
        artifacts=(dataclasses.replace(artifact, blob=b"1 / 0", constants=(weights,)),),
        vendors={"numpy": VendorUse("1", {}, base.vendors["numpy"].runtime, "npu")},
        twins={"s0": Twin(ADD_ONE, (weights,))},
    )
    save_program(base, tmp_path / "m.byoc")
    assert (tmp_path / "m.byoc").stat().st_size < len(kernel_library) + 1.5 * weights.nbytes
    loaded = load_program(tmp_path / "m.byoc", resolver)
    assert loaded.healing == Healing(5, 0.5, True) and loaded.twins["s0"].plan == ADD_ONE
    session = Session(loaded)
    np.testing.assert_array_equal(session(X), X + 1)
    assert isinstance(session.faults[0], Fault) and "division" in session.faults[0].message


def test_wrong_settings(kernel_library):
    for bad, message in (
        ({"failures": 0}, "failures must be 1 or more"),
        ({"deadline": -1.0}, "deadline must be seconds above 0"),
    ):
        with pytest.raises(OptionError, match=message):
            Healing(**bad)
    on_cpu = program(kernel_library, Vendor(), healing=Healing(deadline=1.0))
    use = dataclasses.replace(on_cpu.vendors["numpy"], processor="cpu")
    with pytest.raises(OptionError, match="runs on processor 'cpu', where calls can have no dead"):
        Session(dataclasses.replace(on_cpu, vendors={"numpy": use}))
    two = Plan(ADD_ONE.inputs, (Port("a", 1), Port("b", 1)), PORTS, ADD_ONE.tasks, 0)
    odd = dataclasses.replace(program(kernel_library, Vendor()), twins={"s0": Twin(two)})
    with pytest.raises(ArtifactError, match="segment 's0' has 1 outputs, its host twin 2"):
        Session(odd)
