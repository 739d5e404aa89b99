"""Many threads on a few sessions, and sessions that come and go: answers, throughput, memory.

Usage: ``python -m benchmarks.stress [--minutes M] [shared | sessions]``; JSON on the last line.
Under a sanitizer (see scripts/nightly) only the answers are looked at.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import byoc

__all__ = ["Sessions", "Shared", "resident", "rising", "stress_sessions", "stress_shared"]

MODELS = ("squeezenet", "shufflenet", "mlp")
THREADS = 8
INPUTS = 4  # of each model, with known answers


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def rising(samples: Sequence[int]) -> float:
    """Bytes between the medians of the second and the last quarter: the first is warming up."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    return float(np.median(late) - np.median(early))


@dataclass(frozen=True)
class Shared:
    """wrong: answers that differ; one, many: runs per second of one thread and of all; growth: of
    memory, in bytes; gain: median of many over one, window by window.
    """

    seconds: float
    runs: int
    wrong: int
    one: float
    many: float
    gain: float
    growth: float
    peak: int


@dataclass(frozen=True)
class Sessions:
    """opened: sessions in all; growth: of memory, in bytes."""

    opened: int
    wrong: int
    growth: float
    peak: int


Work = tuple[Callable[..., Any], list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]


def _prepare(executable: byoc.Executable, seed: int) -> Work:
    """A model with inputs and what it answered when nobody else was there."""
    (port,) = executable.inputs
    rng = np.random.default_rng(seed)
    inputs = [
        rng.standard_normal(port.type.shape).astype(port.type.dtype)  # type: ignore[arg-type]
        for _ in range(INPUTS)
    ]
    return executable, inputs, [np.array(executable(x)) for x in inputs]


def _window(works: Sequence[Work], threads: int, seconds: float) -> tuple[int, int]:
    """(runs, wrong answers) of `threads` threads that share the models for `seconds`."""
    end = time.monotonic() + seconds
    counts = [0] * threads
    wrong = [0] * threads

    def run(number: int) -> None:
        step = number
        while time.monotonic() < end:
            execute, inputs, answers = works[step % len(works)]
            which = step // len(works) % INPUTS
            found = execute(inputs[which])
            # The same kernels in the same order: equal, not just near.
            wrong[number] += not np.array_equal(found, answers[which])
            counts[number] += 1
            step += 1

    helpers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join()
    return sum(counts), sum(wrong)


def stress_shared(
    executables: Sequence[byoc.Executable], seconds: float, threads: int = THREADS
) -> Shared:
    """`threads` threads on one session per model for `seconds`; a third of the time only one."""
    works = [_prepare(executable, seed) for seed, executable in enumerate(executables)]
    windows = max(4, min(60, int(seconds / 3)))
    length = seconds / windows / 3
    runs = wrong = 0
    one, many, gains, samples = [], [], [], []
    for _ in range(windows):
        count, bad = _window(works, 1, length)
        one.append(count / length)
        found, more = _window(works, threads, 2 * length)
        many.append(found / length / 2)
        gains.append(many[-1] / max(one[-1], 1e-9))
        runs, wrong = runs + count + found, wrong + bad + more
        gc.collect()
        samples.append(resident())
    return Shared(
        seconds, runs, wrong, float(np.median(one)), float(np.median(many)),
        float(np.median(gains)), rising(samples), max(samples),
    )  # fmt: skip


def stress_sessions(file: Path, at_once: int, rounds: int) -> Sessions:
    """Open `at_once` sessions of one file, run each, close them; `rounds` times."""
    reference = byoc.load(file)
    (port,) = reference.inputs
    x = np.full(port.type.shape, 0.5, port.type.dtype)  # type: ignore[arg-type]
    expected = np.array(reference(x))
    wrong, samples = 0, []
    for _ in range(rounds):
        opened = [byoc.load(file) for _ in range(at_once)]
        futures = [session.submit(x) for session in opened[::2]]
        wrong += sum(not np.array_equal(session(x), expected) for session in opened[1::2])
        wrong += sum(not np.array_equal(future.result(), expected) for future in futures)
        del opened, futures
        gc.collect()
        samples.append(resident())
    return Sessions(at_once * rounds, wrong, rising(samples), max(samples))


def models(names: Sequence[str] = MODELS) -> list[byoc.Executable]:
    """Files, loaded; or models of the zoo, the first with dnnl where it is, others on the host."""
    from byoc.plugins.discovery import vendors
    from byoc.testing.zoo import model_path

    if all(name.endswith(".byoc") for name in names):
        return [byoc.load(name) for name in names]
    there = {vendor.name for vendor in vendors() if vendor.available}
    return [
        byoc.compile(model_path(name), vendors=["dnnl"] if k == 0 and "dnnl" in there else [])
        for k, name in enumerate(names)
    ]


def small_file(folder: Path) -> Path:
    """A model of a few kernels, saved."""
    from byoc.testing.zoo import model_path

    path = folder / "small.byoc"
    byoc.compile(model_path("mlp", batch=1, hidden=32, features=8)).save(path)
    return path


def main() -> None:
    """Run what was asked for; JSON on the last line, exit status 1 when an answer was wrong."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=["shared", "sessions"], default=[])
    parser.add_argument("--minutes", type=float, default=5.0, help="of shared (default 5)")
    parser.add_argument("--sessions", type=int, default=64, help="opened at once (default 64)")
    parser.add_argument("--rounds", type=int, default=200, help="of sessions (default 200)")
    parser.add_argument(
        "--models", nargs="*", default=list(MODELS), help="of shared: names, or compiled files"
    )
    parser.add_argument("--file", type=Path, help="of sessions: a compiled file")
    parser.add_argument("--library", type=Path, help="folder the runtime's library must be from")
    arguments = parser.parse_args()
    if arguments.library is not None:
        from byoc.runtime.native import find_library

        used = find_library("byoc_runtime")
        if arguments.library.resolve() not in used.resolve().parents:
            parser.error(f"the runtime's library is {used}, not from {arguments.library}")
    found: dict[str, Any] = {}
    if "shared" in arguments.what or not arguments.what:
        found["shared"] = asdict(stress_shared(models(arguments.models), arguments.minutes * 60))
    if "sessions" in arguments.what or not arguments.what:
        with tempfile.TemporaryDirectory() as folder:
            file = arguments.file or small_file(Path(folder))
            found["sessions"] = asdict(stress_sessions(file, arguments.sessions, arguments.rounds))
    print(json.dumps(found))
    if any(figures["wrong"] for figures in found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
