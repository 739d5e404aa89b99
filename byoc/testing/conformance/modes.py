"""The ways in which a compiled model can be run; each must give the same answers.

In: a vendor, a trap. Out: for each mode, what is wrong with it: a sentence, or None.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.contract_checks import takes_context
from byoc.errors import VendorError
from byoc.plugins.discovery import find
from byoc.runtime import num_threads, set_num_threads
from byoc.runtime.native import LIBRARY_PATH, find_library
from byoc.segment import Array, Artifact, TensorType
from byoc.testing.conformance.traps import Trap
from byoc.testing.reloaded import FreshProcesses
from byoc.vendor import NativeRuntime, PythonRuntime, Vendor

__all__ = ["MODES", "RunMode", "compiled", "difference", "is_installed", "wrong_run"]

Options = Mapping[str, Any]


@dataclass(frozen=True)
class RunMode:
    """A way to run a model.

    Attributes:
        name: What it is called in reports.
        level: Which level needs it: "bronze", "silver", "gold".
        run: (vendor, its options, trap) → what is wrong; None: nothing.
        installed: Whether the vendor must be, so that files find it by its name.
    """

    name: str
    level: str
    run: Callable[[Vendor, Options, Trap], str | None]
    installed: bool = False


def is_installed(vendor: Vendor) -> bool:
    """Return whether this vendor is what its name stands for."""
    try:
        return find(vendor.name) is vendor
    except VendorError:
        return False


def compiled(vendor: Vendor, options: Options, trap: Trap, **more: Any) -> Any:
    """Return a trap as the vendor compiles it."""
    return byoc.compile(trap.module(), {vendor: dict(options)}, min_segment_ops=1, **more)


def wrong_run(exe: Any, trap: Trap, given: Sequence[Array]) -> str | None:
    """Say how a run differs from what is right; None where it does not.

    Args:
        exe: The compiled trap.
        trap: The trap.
        given: The numbers of its inputs.
    """
    before = [array.tobytes() for array in given]
    got = exe(*given)
    results = list(got) if isinstance(got, (list, tuple)) else [got]
    if [array.tobytes() for array in given] != before:
        return "the caller's input was changed"
    return difference(results, trap.right(given), trap.loose)


def difference(got: Sequence[Any], want: Sequence[Array], loose: float) -> str | None:
    """Say how results differ; None where they do not.

    Args:
        got: What came out.
        want: What is right.
        loose: The relative difference that is allowed.
    """
    if len(got) != len(want):
        return f"{len(got)} results, right are {len(want)}"
    for number, (its, right) in enumerate(zip(got, want, strict=True)):
        its = np.asarray(its)
        if its.shape != right.shape or its.dtype != right.dtype:
            return (
                f"result {number} is {its.dtype}{list(its.shape)}, "
                f"right is {right.dtype}{list(right.shape)}"
            )
        a, b = its.astype(np.float64), right.astype(np.float64)
        finite = b[np.isfinite(b)]
        near = loose * max(1.0, float(np.abs(finite).max(initial=0.0)))
        with np.errstate(all="ignore"):
            close = np.isfinite(b) & (np.abs(a - b) <= near + loose * abs(b))
            same = (a == b) | (np.isnan(a) & np.isnan(b)) | close
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            return (
                f"result {number}: {int((~same).sum())} of {same.size} numbers differ, at "
                f"{list(at)} {a[at]:g}, right is {b[at]:g}"
            )
    return None


def _in_process(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    exe = compiled(vendor, options, trap)
    return _all_runs(exe, trap)


def _all_runs(exe: Any, trap: Trap) -> str | None:
    for number, given in enumerate(trap.runs()):
        wrong = wrong_run(exe, trap, given)
        if wrong is not None:
            return f"call {number + 1}: {wrong}"
    return None


@contextmanager
def _saved(vendor: Vendor, options: Options, trap: Trap) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="byoc-conformance-") as folder:
        path = Path(folder) / "model.byoc"
        compiled(vendor, options, trap).save(path)
        yield path


def _loaded(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    with _saved(vendor, options, trap) as path:
        return _all_runs(byoc.load(path), trap)


def _isolated(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    with (
        _saved(vendor, options, trap) as path,
        closing(byoc.load(path, isolate=[vendor.name])) as exe,
    ):
        return _all_runs(exe, trap)


def _fresh(vendor: Vendor, options: Options, trap: Trap, kind: str) -> str | None:
    names = [f"x{k}" for k in range(len(trap.shapes))]
    runs = [dict(zip(names, given, strict=True)) for given in trap.runs()]
    with closing(FreshProcesses(c=kind == "c")) as fresh, _saved(vendor, options, trap) as path:
        found = fresh.answers(path, runs)
        if kind not in found:
            return "the C session does not run it"
        outcome, *rest = found[kind]
        if outcome != "ok":
            return ": ".join(map(str, rest))
        for number, (given, answer) in enumerate(zip(trap.runs(), rest[0], strict=True)):
            got = [
                np.frombuffer(data, dtype).reshape(shape) for dtype, shape, data in answer.values()
            ]
            wrong = difference(got, trap.right(given), trap.loose)
            if wrong is not None:
                return f"call {number + 1}: {wrong}"
    return None


def _without_tvm(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    return _fresh(vendor, options, trap, "python")


def _in_c(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    if not isinstance(vendor.runtime, NativeRuntime):
        return "its runtime is Python's: sessions of C and C++ cannot run it"
    library = find_library(vendor.runtime.library, vendor.runtime.package)
    searched = os.environ.get(LIBRARY_PATH, "")
    os.environ[LIBRARY_PATH] = os.pathsep.join(filter(None, (str(library.parent), searched)))
    try:
        return _fresh(vendor, options, trap, "c")
    finally:
        os.environ[LIBRARY_PATH] = searched


def _with_threads(count: int) -> Callable[[Vendor, Options, Trap], str | None]:
    def run(vendor: Vendor, options: Options, trap: Trap) -> str | None:
        before = num_threads()
        set_num_threads(count)
        try:
            return _in_process(vendor, options, trap)
        finally:
            set_num_threads(before)

    return run


def _beside(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    return _in_process(replace(vendor, processor="conformance"), options, trap)


def _at_once(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    """Calls from several threads, to one model and to another of the same structure.

    The vendor's own function is called by all of them at once, too: a session may.
    """
    exe = compiled(vendor, options, trap)
    given = [*trap.runs()] * 4

    def call(one: Sequence[Array]) -> str | None:
        return wrong_run(exe, trap, one)

    with ThreadPoolExecutor(4) as pool:
        wrong = next(filter(None, pool.map(call, given)), None)
    return wrong or _execute_at_once(vendor, options, trap)


def _execute_at_once(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    """The execute of a Python runtime, from several threads, without byoc's queue before it.

    Not where calls end later or `init` wants to know its segment: only byoc can call those.
    """
    runtime = vendor.runtime
    if not isinstance(runtime, PythonRuntime) or trap.sizes:
        return None
    if runtime.queue_depth or takes_context(runtime.init):
        return None
    parts = byoc.partition_model(trap.module(), {vendor: dict(options)}, min_segment_ops=1)
    chosen = vendor.options.model_validate(dict(options))
    plain = chosen.model_dump(mode="json")
    for segment in parts.segments:
        artifact = vendor.compile(segment, chosen)
        assert isinstance(artifact, Artifact)  # its runtime is no HostRuntime
        execute: Any = runtime.init(bytes(artifact.blob), tuple(artifact.constants), plain)
        types = [[segment.type(v) for v in ports] for ports in (segment.inputs, segment.outputs)]
        rng = np.random.default_rng(5)
        jobs = []
        for _ in range(32):
            ins = [rng.normal(size=_shape(t)).astype(t.dtype) for t in types[0]]
            outs = [np.zeros(_shape(t), t.dtype) for t in types[1]]
            jobs.append((ins, outs, [o.copy() for o in outs]))
        for ins, _, want in jobs:
            execute(ins, want)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                for _ in range(4):
                    list(pool.map(lambda job, run=execute: run(job[0], job[1]), jobs))
        finally:
            sys.setswitchinterval(interval)
        for _, outs, want in jobs:
            wrong = difference(outs, want, trap.loose)
            if wrong is not None:
                return f"execute of {segment.name}, called by 8 threads at once: {wrong}"
    return None


def _shape(kind: TensorType) -> tuple[int, ...]:
    return tuple(int(d) for d in kind.shape)


def _two_models(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    """Two models of one structure, with other weights, called in turn."""
    again = replace(trap, draw=_other_weights(trap.draw))
    both = [(compiled(vendor, options, t), t) for t in (trap, again)]
    for given in trap.runs():
        for exe, one in both:
            wrong = wrong_run(exe, one, given)
            if wrong is not None:
                return f"beside a model of the same structure: {wrong}"
    return None


def _other_weights(draw: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    class Other:
        def __init__(self, pen: Any) -> None:
            self._pen = pen

        def __getattr__(self, name: str) -> Any:
            return getattr(self._pen, name)

        def layer(self, layer: Any, *inputs: Any) -> Any:
            return self._pen.layer(layer.reseeded(1234), *inputs)

    return lambda pen, *inputs: draw(Other(pen), *inputs)


def _import(vendor: Vendor, options: Options, trap: Trap) -> str | None:
    """Naming the vendor must cost nothing."""
    code = (
        "import sys; from byoc.plugins.discovery import find; before = set(sys.modules); "
        f"find({vendor.name!r}); print(*sorted({{'tvm', 'torch'}} & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ},
        timeout=120,
    )
    if done.returncode:
        return f"its module cannot be imported: {done.stderr.strip()[-300:]}"
    heavy = done.stdout.split()
    return f"importing its module imports {', '.join(heavy)}" if heavy else None


MODES = (
    RunMode("in process", "bronze", _in_process),
    RunMode("two models of one structure", "bronze", _two_models),
    RunMode("calls from several threads", "silver", _at_once),
    RunMode("1 thread", "silver", _with_threads(1)),
    RunMode("2 threads", "silver", _with_threads(2)),
    RunMode("a processor of its own", "silver", _beside),
    RunMode("saved and loaded", "silver", _loaded, installed=True),
    RunMode("in a process without TVM", "silver", _without_tvm, installed=True),
    RunMode("isolated", "silver", _isolated, installed=True),
    RunMode("importing the vendor", "silver", _import, installed=True),
    RunMode("a session of C", "gold", _in_c, installed=True),
)
"""All of them."""
