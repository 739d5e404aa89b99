"""How byoc keeps up on a machine that others use too: beside spinning processes, under a quota.

    python -m benchmarks.busy_machine --models resnet50,levit.onnx --spinners 4
    python -m benchmarks.busy_machine --models resnet50,levit.onnx --quota 1.0

Every engine has the model in a process of its own, as a service would, with its threads and waiting
as they come: no environment variable that a user would have to know is set. Engines take turns::

    run 1   byoc xn · onnxruntime xn · openvino xn · byoc xn · …     medians per engine → ratio
    run 2   the same in new processes, another engine first
            ─── spinners: processes that compute all the time, on the same cores ───

The ratio of a run is byoc's median over the best other engine's. Passed: the median of the runs'
ratios is at most `MEDIAN_LIMIT`, the worst at most `WORST_LIMIT`. With ``--quota``, the processes
of an engine share a control group with that many cores' worth of time (cgroup v1 or v2; making one
needs root). There means tell more than medians: a group that uses up its time early in a period is
stopped for the rest of it, so that most calls are quick and one in ten takes a period. Figures as
JSON in benchmarks/results/; exit status 1 when a model does not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
MEDIAN_LIMIT, WORST_LIMIT = 1.1, 2.0
ENGINES = ("byoc", "onnxruntime", "openvino")
PERIOD_US = 100_000
"""Of a quota, in microseconds: Linux's default, and what container engines set."""

_CPU_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")

_WORKER = """
import os, sys, time, onnx
from pathlib import Path
from statistics import median
from byoc.bench.engines import byoc_engine, open_engine
from byoc.testing.zoo import random_inputs
name, path = sys.argv[1], Path(sys.argv[2])
inputs = random_inputs(onnx.load(path), 1)
if name == "byoc":
    import byoc
    engine = byoc_engine(byoc.compile(path))
else:
    engine = open_engine(name, path, len(os.sched_getaffinity(0)))
for _ in range(3):
    engine.run(inputs)
print("ready", flush=True)
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        start = time.perf_counter()
        engine.run(inputs)
        times.append(time.perf_counter() - start)
    print(median(times), sum(times) / len(times), flush=True)
"""

_SPINNER = "while True: pass"


@contextmanager
def control_group(name: str, cores: float) -> Iterator[Path]:
    """Make a control group whose processes get `cores` cores' worth of time; yield its folder."""
    v1 = _CPU_V1.is_dir()
    folder = (_CPU_V1 if v1 else _V2) / f"byoc-bench-{os.getpid()}-{name}"
    try:
        folder.mkdir()
        if v1:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD_US)))
        else:
            (folder / "cpu.max").write_text(f"{int(cores * PERIOD_US)} {PERIOD_US}")
    except OSError as error:
        sys.exit(f"--quota: cannot make the control group {folder} ({error}); run it as root")
    try:
        yield folder
    finally:
        time.sleep(0.2)  # processes that have just ended leave it
        folder.rmdir()


class Worker:
    """A process that has a model open in one engine and times calls when asked."""

    def __init__(self, engine: str, path: Path, group: Path | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, engine, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if group is not None:
            (group / "cgroup.procs").write_text(str(self.process.pid))
        if self._line() != "ready":
            raise RuntimeError(f"{engine} did not come up with {path}")

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def time(self, calls: int) -> tuple[float, float]:
        """Return the median and the mean of `calls` calls' seconds."""
        assert self.process.stdin
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        middle, mean = self._line().split()
        return float(middle), float(mean)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def one_run(
    path: Path, order: Sequence[str], rounds: int, seconds: float, quota: float | None
) -> dict[str, tuple[float, float]]:
    """Open the engines, let them take turns, return each one's median and mean time, in ms."""
    with ExitStack() as stack:
        workers = {}
        for name in order:
            group = stack.enter_context(control_group(name, quota)) if quota else None
            workers[name] = Worker(name, path, group)
            stack.callback(workers[name].close)
        calls = {n: max(1, int(seconds / w.time(2)[0])) for n, w in workers.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
        for _ in range(rounds):
            for name, worker in workers.items():
                times[name].append(worker.time(calls[name]))
        return {
            name: (median(t[0] for t in found) * 1e3, median(t[1] for t in found) * 1e3)
            for name, found in times.items()
        }


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep `count` processes computing meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", _SPINNER]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def check(name: str, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one model as often as asked, and judge it."""
    runs = []
    for k in range(arguments.runs):
        order = ENGINES[k % len(ENGINES) :] + ENGINES[: k % len(ENGINES)]
        found = one_run(path, order, arguments.rounds, arguments.seconds, arguments.quota)
        runs.append(found)
    ratios, of_means = (
        [run["byoc"][i] / min(run[name][i] for name in ENGINES[1:]) for run in runs] for i in (0, 1)
    )
    middle, worst = median(ratios), max(ratios)
    return {
        "model": name,
        "median": middle,
        "worst": worst,
        "ok": middle <= MEDIAN_LIMIT and worst <= WORST_LIMIT,
        "ratios": ratios,
        "ratios_of_means": of_means,
        "medians_ms": {engine: median(run[engine][0] for run in runs) for engine in ENGINES},
        "means_ms": {engine: median(run[engine][1] for run in runs) for engine in ENGINES},
    }


def _path(name: str) -> Path:
    from byoc.testing.zoo import model_path

    return Path(name) if name.endswith(".onnx") else Path(model_path(name))


def main() -> None:
    """Parse the command line, run, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy_machine")
    parser.add_argument("--models", default="resnet50,mobilenet_v2,bert", help="zoo, or ONNX files")
    parser.add_argument("--spinners", type=int, default=0, help="processes beside")
    parser.add_argument("--quota", type=float, help="cores' worth of time per engine")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5, help="turns per engine and run")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn, about")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with spinning(arguments.spinners):
        for name in arguments.models.split(","):
            row = check(name, _path(name), arguments)
            rows.append(row)
            times = ", ".join(
                f"{n} {row['medians_ms'][n]:.2f} ms, mean {row['means_ms'][n]:.2f}" for n in ENGINES
            )
            print(
                f"{'ok  ' if row['ok'] else 'FAIL'} {Path(name).stem:<16} median "
                f"{row['median']:.3f}, worst {row['worst']:.3f} of the best other, "
                f"means {median(row['ratios_of_means']):.3f} ({times})",
                flush=True,
            )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = arguments.output or ROOT / "benchmarks" / "results" / f"busy-machine-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"spinners": arguments.spinners, "quota": arguments.quota}
    path.write_text(json.dumps({**settings, "models": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"── {path}")
    sys.exit(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    main()
