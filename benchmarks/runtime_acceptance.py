"""The promises of the runtime, checked on this machine, with the figures seen.

Usage: ``python -m benchmarks.runtime_acceptance [CHECK …]``; exit status 1 when a claim fails.
`dispatch` and `profile` want a quiet machine: before each of them it is looked whether other
processes are at work, and told. `shared` takes five minutes, all others some minutes together.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from benchmarks.acceptance import Claim
from byoc.testing.zoo import model_path

ROOT = Path(__file__).parents[1]
MB = 1e6
RUNS = 5  # of the C++ benchmark


def others(seconds: float = 1.0) -> float:
    """Share of all cores that works for other processes, looked at for some seconds."""

    def look() -> tuple[float, float]:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, stolen = map(int, line[:8])
        busy = (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")
        mine = sum(os.times()[:4])
        return busy - mine, time.monotonic()

    (before, start), _ = look(), time.sleep(seconds)
    after, end = look()
    return max(0.0, (after - before) / (end - start) / (os.cpu_count() or 1))


def told_load() -> Claim:
    """How busy the machine is with other things; said loudly when it is."""
    share = others()
    if share > 0.03:
        print(
            f"   THE MACHINE IS NOT QUIET: {share:.0%} of its cores work for other processes; "
            f"times that follow say little",
            flush=True,
        )
    return Claim("other processes, share of all cores", share)


def check_dispatch() -> Iterator[Claim]:
    """The C++ benchmark, built here; medians of several runs."""
    yield told_load()
    build = ROOT / "build" / "bench"
    for command in (
        ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", build, "--target", "byoc_dispatch_bench"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout)[-2000:]}")
    program = build / "benchmarks" / "dispatch" / "byoc_dispatch_bench"
    runs: list[dict[str, float]] = []
    for _ in range(RUNS):
        # Waiting as it is by default: threads that wait spin for some microseconds.
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        done = subprocess.run(
            [program], capture_output=True, text=True, check=True, env=environment
        )
        runs.append(json.loads(done.stdout))
    seen = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    yield Claim("task on the same queue, ns", seen["same_queue_task_ns"], 60)
    yield Claim("the same in a plan on two queues, ns", seen["same_queue_task_in_lanes_ns"], 60)
    yield Claim("hop to another queue, ns", seen["cross_queue_hop_ns"], 300)
    yield Claim("the quickest tenth of hops, ns", seen["cross_queue_hop_p10_ns"])
    yield Claim(
        "two chains of 2 ms tasks, over serial", seen["two_chains_speedup"], 1.9, at_least=True
    )
    yield Claim("two stages, over one at a time", seen["pipeline_speedup"], 1.85, at_least=True)
    yield Claim(
        "plan on the CPU, one thread, over a loop of its calls", seen["plan_over_walk"], 1.01
    )
    yield Claim("the loop over itself", seen["walk_over_walk"])
    yield Claim("plan handed to the CPU's thread, over the loop", seen["handed_plan_over_walk"])
    yield Claim("the loop, µs", seen["walk_us"])
    yield Claim("call of one empty task on the caller, ns", seen["call_on_caller_ns"])
    yield Claim("the same handed to the CPU's thread, ns", seen["call_ns"])
    off = seen["request_task_ns"] - seen["same_queue_task_ns"]
    yield Claim("not profiled: more per task than a call, ns", off, 5)
    yield Claim("profiled: more per task, ns", seen["traced_task_ns"] - seen["request_task_ns"])


def check_profile() -> Iterator[Claim]:
    """Requests with and without their times kept, in turns."""
    yield told_load()
    for name, vendors in (("resnet50", ["dnnl"]), ("shufflenet", [])):
        executable = byoc.compile(model_path(name), vendors=vendors)
        (port,) = executable.inputs
        x = np.random.default_rng(0).standard_normal(port.type.shape, "float32")
        tasks = len(executable.profile(x).tasks)
        begin = time.monotonic()
        executable(x)
        count = max(2, int(0.1 / (time.monotonic() - begin)))
        ratios, noise = [], []
        for _ in range(41):
            one, traced, two = (
                _untraced(executable, x, count),
                executable.profile(x, requests=count, warmup=0).seconds,
                _untraced(executable, x, count),
            )
            ratios.append(2 * traced / (one + two))
            noise.append(one / two)
        yield Claim(f"{name}: tasks", tasks)
        yield Claim(f"{name}: profiled over not", statistics.median(ratios), 1.02)
        yield Claim(f"{name}: not profiled over itself", statistics.median(noise))


def _untraced(executable: byoc.Executable, x: Any, count: int) -> float:
    """Seconds that requests take which are not profiled, as many on their way as with `profile`."""
    begin = time.monotonic()
    futures = [executable.submit(x) for _ in range(count)]
    for future in futures:
        future.result()
    return time.monotonic() - begin


def check_shared(minutes: float = 5) -> Iterator[Claim]:
    """8 threads, one session for each of three models."""
    found = _stress("shared", "--minutes", str(minutes))
    yield Claim("runs", found["runs"], 100, at_least=True)
    yield Claim("wrong answers", found["wrong"], 0)
    yield Claim("eight threads, runs per second over one's", found["gain"], 1, at_least=True)
    yield Claim("memory: growth, MB", found["growth"] / MB, 4)
    yield Claim("memory: peak, MB", found["peak"] / MB)


def check_sessions() -> Iterator[Claim]:
    """64 sessions opened and closed 200 times."""
    found = _stress("sessions")
    yield Claim("sessions opened and closed", found["opened"], 12_800, at_least=True)
    yield Claim("wrong answers", found["wrong"], 0)
    yield Claim("memory: growth, MB", found["growth"] / MB, 4)
    yield Claim("memory: growth of one session, bytes", found["growth"] / found["opened"])


def _stress(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.stress", *words]
    # One heap: glibc gives threads heaps of their own, which fill up one after the other.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=environment
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{' '.join(command)} exited {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])[words[0]]
    return found


def check_files() -> Iterator[Claim]:
    """10 000 flipped bits, 1 000 truncations; kills, two writers, full disks."""
    yield from _tests("files", "tests/runtime/test_checking.py", "tests/cli/test_damaged_files.py")


def check_fair() -> Iterator[Claim]:
    """Sessions take turns; back-pressure; deadlines and cancellation in any order."""
    yield from _tests("requests", "tests/runtime/test_requests.py", "tests/runtime/test_stress.py")


def check_sanitizers() -> Iterator[Claim]:
    """The C++ tests under AddressSanitizer with LeakSanitizer, UBSan and ThreadSanitizer."""
    for build in ("asan", "tsan"):
        done = subprocess.run(
            [ROOT / "scripts" / "test-cpp", build], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHON": sys.executable},
        )  # fmt: skip
        yield Claim(f"{build}: exit status", done.returncode, 0)


def _tests(what: str, *arguments: str) -> Iterator[Claim]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--slow"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    last = (done.stdout.strip() or "nothing").splitlines()[-1]
    found = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    yield Claim(f"{what}: tests passed", found.get("passed", 0), 1, at_least=True)
    yield Claim(f"{what}: tests failed", found.get("failed", 0) + found.get("error", 0), 0)


CHECKS: Mapping[str, Callable[[], Iterator[Claim]]] = {
    "dispatch": check_dispatch,
    "profile": check_profile,
    "fair": check_fair,
    "files": check_files,
    "sessions": check_sessions,
    "sanitizers": check_sanitizers,
    "shared": check_shared,
}


def main() -> None:
    """Run the checks that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the claims there")
    arguments = parser.parse_args()
    if unknown := set(arguments.checks) - set(CHECKS):
        parser.error(f"no check {', '.join(sorted(unknown))}; legal: {', '.join(CHECKS)}")
    claims: dict[str, list[Claim]] = {}
    for name in arguments.checks or CHECKS:
        start = time.perf_counter()
        print(f"── {name}", flush=True)
        claims[name] = []
        try:
            for claim in CHECKS[name]():
                claims[name].append(claim)
                print(claim, flush=True)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"this check ended early: {error}", file=sys.stderr)
            claims[name].append(Claim("check ended early", 1, 0))
        print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.json:
        content = {
            name: [asdict(c) | {"ok": c.ok} for c in group] for name, group in claims.items()
        }
        with tempfile.NamedTemporaryFile(
            "w", dir=arguments.json.parent, delete=False, encoding="utf-8"
        ) as aside:
            json.dump(content, aside, indent=2)
        Path(aside.name).replace(arguments.json)
    failed = sum(not claim.ok for group in claims.values() for claim in group)
    print(f"── {failed} of {sum(map(len, claims.values()))} claims failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
