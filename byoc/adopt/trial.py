"""Tries changes before they are written: both versions of a model, side by side, in a worker.

    parent ──{"path", "build", "call", "vendors"}──▶ worker    imports the file: its code runs
           ◀──{"lines", "coverage", "reasons"}──                as it is: what runs, what is refused
           ──{"files", "maps"}──▶                               a version of the sources
           ◀──{"ok", "why", "before", "after"}──                outputs, gradients, checkpoint

The worker is a module of another room, given by name: this one knows neither torch nor TVM.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from byoc.adopt.analysis import analyse, changed, compatible
from byoc.adopt.finding import Reason, SourceFinding
from byoc.adopt.source import SourceProject
from byoc.errors import InputError
from byoc.vendor import Vendor

__all__ = ["Trial", "with_reasons", "write_plan"]

_ROUNDS = 5


class Trial:
    """A worker that has built the model as it is.

    Args:
        worker: The module to run, by its name.
        path: The file that the model's class is in.
        build: Python that builds the model, in the names of that file.
        call: Python for the arguments of its forward, likewise.
        vendors: Names of vendors to partition for.
        patience: Seconds that an answer may take.

    Attributes:
        answer: What the worker says of the model as it is.

    Raises:
        InputError: The model cannot be built or run; the message is the worker's.
    """

    def __init__(
        self, worker: str, path: Path, build: str, call: str, vendors: Sequence[str],
        patience: float = 600.0,
    ) -> None:  # fmt: skip
        self._patience = patience
        self._process = subprocess.Popen(
            [sys.executable, "-m", worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.answer = self._ask(
            {"path": str(path.resolve()), "build": build, "call": call, "vendors": list(vendors)}
        )
        if not self.answer.get("ok"):
            self.close()
            raise InputError(f"{path}: the model cannot be tried: {self.answer.get('why')}")

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def ran(self, finding: SourceFinding) -> bool:
        """Return whether the example reaches a finding's line."""
        lines: Sequence[int] = self.answer["lines"].get(str(finding.path), ())
        return any(finding.first <= line <= finding.line for line in lines)

    def compare(
        self, files: Mapping[Path, bytes], maps: Sequence[Mapping[str, Any]], **more: Any
    ) -> dict[str, Any]:
        """Compare a version of the sources with what they are.

        Args:
            files: What files hold in this version.
            maps: Class and new parameters, in the order in which they are applied.
            more: What else the worker understands: "checkpoint" and "migrated", "measure".

        Returns:
            "ok", "why" not, "coverage" before and after.
        """
        texts = {str(path): data.decode("utf-8") for path, data in files.items()}
        return self._ask({"files": texts, "maps": list(maps), **more})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = _line(process.stdout, self._patience)
        except BrokenPipeError:
            line = b""
        if line is None:
            return {"ok": False, "why": f"no answer within {self._patience:g} s"}
        if not line:
            return {"ok": False, "why": f"its process ended with status {process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def _line(stream: IO[bytes], patience: float) -> bytes | None:
    ready, _, _ = select.select([stream], [], [], patience)
    return stream.readline() if ready else None


def with_reasons(findings: Sequence[SourceFinding], trial: Trial) -> list[SourceFinding]:
    """Return findings with what the partitioner says of their lines, and one for each line else.

    Args:
        findings: What rules found.
        trial: The model, built and partitioned.
    """
    left = [
        (Path(r["path"]), Reason(r["line"], r["op"], r["reason"])) for r in trial.answer["reasons"]
    ]
    joined = []
    for finding in findings:
        mine = tuple(
            r for p, r in left if p == finding.path and finding.first <= r.line <= finding.line
        )
        left = [(p, r) for p, r in left if r not in mine]
        joined.append(replace(finding, reasons=mine))
    for path, reason in left:
        joined.append(
            SourceFinding(
                path,
                reason.line,
                reason.line,
                "refused",
                "",
                "",
                "",
                reason.reason,
                reasons=(reason,),
            )
        )
    return sorted(joined, key=lambda f: (str(f.path), f.line, f.rule))


def write_plan(
    path: Path, vendors: Sequence[Vendor], only: str | None, trial: Trial | None, **more: Any
) -> tuple[dict[Path, bytes], list[SourceFinding], list[dict[str, Any]]]:
    """Return what files would hold with all changes made that hold, and what became of each.

    Args:
        path: The file.
        vendors: Whose rewrites.
        only: A class of it.
        trial: Where changes are tried; None takes them all untried.
        more: What `Trial.compare` of the whole is to do beside.

    Returns:
        The files, the findings (those that were made have `checked` with "ok"), and the maps of the
        checkpoint.
    """
    files: dict[Path, bytes] = {}
    maps: list[dict[str, Any]] = []
    done: list[SourceFinding] = []
    refused: set[tuple[str, str, str]] = set()
    for _ in range(_ROUNDS):
        project = SourceProject(dict(files))
        found = [f for f in analyse(path, vendors, only, project) if _key(f) not in refused]
        chosen = compatible(found)
        if trial is not None and not files:
            for finding in [f for f in chosen if not trial.ran(f)]:
                chosen.remove(finding)
                refused.add(_key(finding))
                why = f"not tried: the example does not reach line {finding.line}"
                done.append(replace(finding, checked={"ok": False, "why": why}))
        if not chosen:
            break
        groups = [chosen] if len(chosen) == 1 or trial is None else [chosen, *([f] for f in chosen)]
        for group in groups:
            version = {**files, **changed(group, project)}
            new = [*maps, *({"class": f.owner, "parameters": dict(f.parameters)}
                            for f in group if f.parameters)]  # fmt: skip
            answer = {"ok": True} if trial is None else trial.compare(version, new)
            if answer["ok"]:
                files, maps = version, new
                done += [replace(f, checked=answer if trial else None) for f in group]
                break  # the next round finds the others where they lie now
            if len(group) == 1:
                refused.add(_key(group[0]))
                done.append(replace(group[0], checked=answer))
    if more and files and trial is not None:
        answer = trial.compare(files, maps, **more)
        done = [replace(f, checked=answer) if f.checked and f.checked["ok"] else f for f in done]
    return files, done, maps


def _key(finding: SourceFinding) -> tuple[str, str, str]:
    return finding.rule, finding.owner, finding.function
