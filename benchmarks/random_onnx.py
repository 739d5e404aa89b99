"""Random ONNX graphs (`onnx_grammar/`) on byoc and on ONNX Runtime: equal, or refused by name.

    python benchmarks/random_onnx.py --graphs 2000                      three sets of vendors
    python benchmarks/random_onnx.py --graphs 2000 --jobs 2             by two processes
    python benchmarks/random_onnx.py --graphs 2000 --vendors host       everything on the host
    python benchmarks/random_onnx.py --graphs 200 --reload              saved and loaded again, too
    python benchmarks/random_onnx.py --first 1234 --graphs 1 --keep /tmp   one graph, model kept
    python benchmarks/random_onnx.py --hard --reload --log ends.jsonl   harder graphs, saved, too

--hard: weights as inputs of the run, NaN, infinities, ends of integers, batches of 1 and 0, deep
chains, weights given that have a default, indices outside their axis, which must be refused
(`byoc/testing/grammar/hard.py`). --reload: every program is saved, too, and run by a process
without TVM. --log: a line for each graph; graphs that have one are not run again. A graph that does
not end well is printed as text, with the command that runs it alone.

Graphs run in a worker process, which is replaced when one crashes it or hangs. A graph is imported
once and then compiled and run for each set of vendors; there it ends as one of

    equal     every output has the numbers, shape and dtype of ONNX Runtime (no graph optimisation)
    refused   byoc raised one of its own errors
    skip      ONNX Runtime itself does not run the graph
    wrong     other numbers, shapes or dtypes · error: any other exception · crash · timeout

Exit status 1 when a graph ended as one of the last line.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import onnx

sys.path.append(str(Path(__file__).parents[1]))


from benchmarks.onnx_compare import BAD, try_sets
from byoc.testing.grammar import Case, make_case
from byoc.testing.grammar.hard import make_hard_case

__all__ = ["SETS"]

SETS = ("host", "dnnl", "dnnl,onnxruntime")
_SECONDS = 300

End = tuple[str, str, str]
"""(set of vendors, how a graph ends with it, why)."""


# -- the worker


def _vendors(names: Sequence[str]) -> dict[str, list[Any]]:
    """The vendors of each set; their patterns are read once, not once for every graph."""
    from dataclasses import replace

    from byoc.contract_checks import check_patterns
    from byoc.partition.matching import match
    from byoc.plugins.discovery import find

    known: dict[str, Any] = {}
    read: dict[str, Any] = {}
    for name in {v for s in names if s != "host" for v in s.split(",")}:
        vendor = find(name)
        patterns = check_patterns(vendor)
        known[name] = replace(vendor, patterns=lambda kept=patterns: kept)
    make = match.VendorPatterns

    def once(vendor: Any) -> Any:
        if vendor.name not in read:
            read[vendor.name] = make(vendor)
        return read[vendor.name]

    match.VendorPatterns = once  # type: ignore[assignment,misc]
    return {s: [] if s == "host" else [known[v] for v in s.split(",")] for s in names}


def _case(seed: int, hard: bool) -> Case:
    return make_hard_case(seed) if hard else make_case(seed)


def _work(names: Sequence[str], keep: Path | None, hard: bool, reload: bool) -> None:
    import os

    from byoc.testing.reloaded import FreshProcesses

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sets = _vendors(names)
    fresh = FreshProcesses() if reload else None
    for line in sys.stdin:
        seed, wanted = json.loads(line)
        case = _case(seed, hard)
        if keep:  # written first: it may crash
            path = keep / f"random_{seed}.onnx"
            path.write_bytes(case.model.SerializeToString())
        good = True
        for name, (outcome, why) in try_sets(
            case, {n: sets[n] for n in wanted}, fresh.difference if fresh else None
        ):
            good = good and outcome not in BAD
            print(json.dumps([name, outcome, why[:600]]), file=out)
        if keep and good:
            path.unlink()
    if fresh is not None:
        fresh.close()


class _Worker:
    def __init__(self, command: list[str]) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0
        )

    def run(self, seed: int, names: Sequence[str]) -> list[End]:
        """(set, how the graph ends with it, why), up to the first set that ends the worker."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps([seed, names])}\n".encode())
        ends: list[End] = []
        for name in names:
            if not select.select([self.process.stdout], [], [], _SECONDS)[0]:
                self.end()
                return [*ends, (name, "timeout", f"over {_SECONDS} s")]
            line = self.process.stdout.readline()
            if not line:
                status = self.process.wait()
                self.log.seek(0)
                last = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
                self.end()
                return [*ends, (name, "crash", f"exit status {status}: {''.join(last)[:300]}")]
            ends.append(tuple(json.loads(line)))
        return ends

    def end(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                stream.close()


def _all_ends(
    command: list[str], seeds: Iterable[int], names: Sequence[str], jobs: int
) -> Iterator[tuple[int, list[End]]]:
    """How each graph ends with every set, by `jobs` workers; one that died is replaced."""
    workers = queue.SimpleQueue[_Worker]()
    for _ in range(jobs):
        workers.put(_Worker(command))

    def one(seed: int) -> tuple[int, list[End]]:
        worker, ends = workers.get(), list[End]()
        while len(ends) < len(names):
            ends += worker.run(seed, names[len(ends) :])
            if worker.process.poll() is not None:
                worker = _Worker(command)
        workers.put(worker)
        return seed, ends

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, seeds)
    for _ in range(jobs):
        workers.get().end()


# -- the count


def _reason(why: str) -> str:
    """A refusal without the names and numbers of its graph."""
    inner = why.split(" cannot be imported: ")
    operator = re.search(r"ai\.onnx::(\w+)", why)
    text = inner[1] if len(inner) > 1 else why
    text = re.sub(r"'[^']*'", "'…'", text.split(") and stays opaque")[0])
    return (f"{operator[1]}: " if operator else "") + re.sub(r"\d+", "#", text)[:100]


def _logged(path: Path | None) -> dict[int, list[End]]:
    """What a log says: seed → its ends."""
    if path is None or not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {seed: [tuple(end) for end in ends] for seed, ends in lines}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first graph")
    parser.add_argument(
        "--vendors", nargs="+", default=SETS, help="sets; in each by commas; 'host': no vendors"
    )
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--keep", type=Path, help="folder for the models that do not end well")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    parser.add_argument("--hard", action="store_true", help="harder graphs")
    parser.add_argument("--reload", action="store_true", help="run saved programs, too")
    parser.add_argument("--log", type=Path, help="file of results so far; it is added to")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sets = tuple(args.vendors)
    if args.work:
        _work(sets, args.keep, args.hard, args.reload)
        return
    options = [o for o in ("--hard", "--reload") if getattr(args, o[2:])]
    command = [sys.executable, __file__, "--work", "--vendors", *sets]
    command += ["--keep", str(args.keep)] if args.keep else []
    command += options
    began = time.monotonic()
    counts: dict[str, Counter[str]] = {name: Counter() for name in sets}
    refusals: dict[str, dict[str, list[int]]] = {name: {} for name in sets}
    operators: Counter[str] = Counter()
    seeds = range(args.first, args.first + args.graphs)
    known = _logged(args.log)
    rest = [s for s in seeds if s not in known]
    earlier = ((s, known[s]) for s in seeds if s in known)
    ended = chain(earlier, _all_ends(command, rest, sets, args.jobs))
    for done, (seed, ends) in enumerate(ended, 1):
        graph = _case(seed, args.hard).model.graph
        operators.update({n.op_type for n in graph.node})
        if args.log and seed not in known:
            with args.log.open("a") as log:
                print(json.dumps([seed, ends]), file=log)
        for name, outcome, why in ends:
            counts[name][outcome] += 1
            if outcome == "refused":
                refusals[name].setdefault(_reason(why), []).append(seed)
            if outcome in BAD:
                print(f"{seed}: {name}: {outcome}: {why}", flush=True)
        bad = [name for name, outcome, _ in ends if outcome in BAD]
        if bad:
            again = [f"--first {seed} --graphs 1", *options, "--vendors", *bad]
            print(f"again: python benchmarks/random_onnx.py {' '.join(again)}")
            print(onnx.printer.to_text(graph), flush=True)
        if done % 100 == 0:
            seconds = time.monotonic() - began
            print(f"{done} graphs, {seconds:.0f} s: {counts}", file=sys.stderr, flush=True)
    print(f"{args.graphs} graphs from seed {args.first}, {len(operators)} operators")
    for name in sets:
        print(f"{name}: {dict(counts[name])}")
        for why, of in sorted(refusals[name].items(), key=lambda r: -len(r[1]))[:25]:
            print(f"  refused {len(of)}: {why} (seeds {' '.join(map(str, of[:5]))})")
    if args.json:
        result = {"counts": counts, "refusals": refusals, "operators": operators}
        args.json.write_text(json.dumps(result, indent=1))
    sys.exit(any(counts[name][outcome] for name in sets for outcome in BAD))


if __name__ == "__main__":
    main()
