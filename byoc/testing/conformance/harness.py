"""Put a vendor to the test, in child processes: what crashes or hangs takes nothing else down.

    conformance("acme").level        "gold", "silver", "bronze" or "none"

A child does one task after the other. When it dies, its task is told as a crash and a new child
goes on; of a batch of claims, each is then tried alone. ``BYOC_CHECK=1`` is on in all of them, and
no engine is kept, so that each is built.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from byoc.errors import VendorError
from byoc.testing.conformance.suite import (
    ConformanceOutcome,
    ConformancePlan,
    ConformanceSuite,
    Task,
)
from byoc.testing.conformance.verdict import ConformanceReport
from byoc.vendor import Vendor

__all__ = ["conformance"]

Each = Callable[[ConformanceOutcome], None]


def conformance(
    vendor: str | Vendor,
    options: Mapping[str, Any] | None = None,
    *,
    only: str = "",
    most_traps: int = 2,
    timeout: float = 300.0,
    first: bool = False,
    each: Each | None = None,
) -> ConformanceReport:
    """Put a vendor to the test.

    Args:
        vendor: Its name, or ``module:ATTRIBUTE``. A `Vendor` value is tried in this process, where
            a crash ends it.
        options: Its options.
        only: Cases whose name contains this text.
        most_traps: The layers around which traps are set, most.
        timeout: Seconds after which a task hangs.
        first: Stop at the first thing that is not right.
        each: Called with each outcome as it comes.

    Returns:
        All outcomes, and the level that they make.

    Raises:
        VendorError: The vendor is unknown, or breaks the contract before anything is tried.
    """
    start = time.perf_counter()
    found: list[ConformanceOutcome] = []
    runner: _Here | _Children
    if isinstance(vendor, Vendor):
        runner = _Here(ConformanceSuite(vendor, options, only=only, most_traps=most_traps))
        name = vendor.name
    else:
        setup = {"vendor": vendor, "options": dict(options or {}), "only": only}
        runner = _Children({**setup, "most_traps": most_traps}, timeout)
        name = vendor
    try:
        plan = runner.plan()
        for task in plan.tasks:
            for outcome in runner.run(task):
                found.append(outcome)
                if each is not None:
                    each(outcome)
            if first and any(o.verdict not in ("right", "skipped") for o in found):
                break
    finally:
        runner.close()
    return ConformanceReport(name, plan, tuple(found), time.perf_counter() - start)


_SETTINGS = {"BYOC_CHECK": "1", "BYOC_ENGINE_BYTES": "0"}


class _Here:
    """Tasks in this process."""

    def __init__(self, suite: ConformanceSuite) -> None:
        self._suite = suite
        self._before = {name: os.environ.get(name) for name in _SETTINGS}
        os.environ.update(_SETTINGS)

    def plan(self) -> ConformancePlan:
        return self._suite.plan()

    def run(self, task: Task) -> list[ConformanceOutcome]:
        return self._suite.run(task)

    def close(self) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Children:
    """Tasks in a child process, a new one after each crash."""

    def __init__(self, setup: Mapping[str, Any], timeout: float) -> None:
        self._setup = setup
        self._timeout = timeout
        self._child: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in `close`

    def plan(self) -> ConformancePlan:
        answer = self._ask("plan")
        if isinstance(answer, str):
            raise VendorError(f"vendor {self._setup['vendor']!r} cannot be asked: {answer}")
        if "error" in answer:
            raise VendorError(str(answer["error"]).removeprefix("VendorError: "))
        return ConformancePlan(**answer["plan"])

    def run(self, task: Task) -> Iterator[ConformanceOutcome]:
        """The outcomes of a task; those of a batch that crashes, one by one."""
        answer = self._ask(task)
        if isinstance(answer, str):
            names = task.get("names", [])
            if len(names) > 1:
                for name in names:
                    yield from self.run({**task, "names": [name]})
                return
            verdict = "hang" if answer.startswith("no answer") else "crash"
            what = names[0] if names else task["name"]
            group = "claim" if task["kind"] == "claims" else task["kind"]
            yield ConformanceOutcome(group, what, verdict, answer, "bronze")
        elif "error" in answer:
            yield ConformanceOutcome(task["kind"], task.get("name", ""), "failed", answer["error"])
        else:
            yield from (ConformanceOutcome(**outcome) for outcome in answer["outcomes"])

    def close(self) -> None:
        if self._child is not None:
            self._end()
        self._said.close()

    def _ask(self, request: Any) -> dict[str, Any] | str:
        """The answer to a request; a text says how the child ended instead."""
        if self._child is None:
            path = [*filter(None, sys.path)]
            self._child = subprocess.Popen(
                [sys.executable, "-m", "byoc.testing.conformance.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                env={**os.environ, **_SETTINGS, "PYTHONPATH": os.pathsep.join(path)},
            )
            started = self._exchange(self._setup)
            if isinstance(started, str) or "error" in started:
                return started
        return self._exchange(request)

    def _exchange(self, request: Any) -> dict[str, Any] | str:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
        except BrokenPipeError:
            return self._end()
        ready, _, _ = select.select([child.stdout], [], [], self._timeout)
        if not ready:
            self._end()
            return f"no answer within {self._timeout:g} s"
        line = child.stdout.readline()
        answer: dict[str, Any] | str = json.loads(line) if line.endswith("\n") else self._end()
        return answer

    def _end(self) -> str:
        child = self._child
        assert child is not None
        self._child = None
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
        try:
            status = child.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 2000))
        last = self._said.read().strip().splitlines()[-1:]
        ended = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{ended}; its last words: {last[0][:300]}" if last else ended
