"""Saved is live: an executable against its own file, opened by processes without TVM.

    with closing(FreshProcesses()) as fresh:
        fresh.difference(exe, [inputs])       None: bit for bit the same, in Python and through C

Both processes live for many artifacts, so that one costs its saving, loading and running only.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tvm_ffi.libinfo import find_libtvm_ffi

from byoc.runtime.native import find_library
from byoc.testing.fresh_process import Packed, packed

__all__ = ["FreshProcesses"]

_NOT_IN_C = ("runs on TVM's VM", "Python")
"""How the C session refuses what only Python runs: symbolic shapes, vendors in Python."""


class FreshProcesses:
    """A process with byoc's Python and one with its C library, neither with TVM.

    Args:
        c: Also ask the C session.
    """

    def __init__(self, *, c: bool = True) -> None:
        self._commands = {"python": ["python"]}
        if c:
            self._commands["c"] = ["c", find_libtvm_ffi(), str(find_library("byoc_runtime"))]
        self._folder = tempfile.TemporaryDirectory(prefix="byoc-fresh-")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.refused_by_c = 0
        self.run_by_c = 0

    def close(self) -> None:
        """End the processes and remove what was saved."""
        for process in self._processes.values():
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        self._processes.clear()
        self._folder.cleanup()

    def difference(self, exe: Any, runs: Sequence[Mapping[str, Any]]) -> str | None:
        """Save an executable, and say how its file answers otherwise than itself.

        Args:
            exe: The `byoc.Executable`.
            runs: Inputs by name, for each run.

        Returns:
            The first difference, or an error of a process; None when there is none.
        """
        path = Path(self._folder.name) / "model.byoc"
        exe.save(path)
        live = [packed(dict(exe.run(dict(inputs)))) for inputs in runs]
        found = self.answers(path, runs)
        for kind, (outcome, *rest) in found.items():
            if outcome != "ok":
                return f"{kind}: {': '.join(rest)}"
            for number, (mine, its) in enumerate(zip(live, rest[0], strict=True)):
                why = _unequal(mine, its)
                if why:
                    return f"{kind}: run {number}: {why}"
        return None

    def answers(self, path: Path, runs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
        """Run a file in each process that can.

        Args:
            path: Of the artifact.
            runs: Inputs by name, for each run.

        Returns:
            Process → ("ok", outputs of each run) or ("error", kind, message).
        """
        sent = [packed(dict(inputs)) for inputs in runs]
        found = {}
        for kind in self._commands:
            answer = self._ask(kind, (str(path), sent))
            if kind == "c":
                if answer[0] == "error" and any(text in answer[2] for text in _NOT_IN_C):
                    self.refused_by_c += 1
                    continue
                self.run_by_c += 1
            found[kind] = answer
        return found

    def _ask(self, kind: str, request: Any) -> tuple[Any, ...]:
        process = self._processes.get(kind)
        if process is None:
            script = Path(__file__).with_name("fresh_process.py")
            process = self._processes[kind] = subprocess.Popen(
                [sys.executable, str(script), *self._commands[kind]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(request, process.stdin)
        process.stdin.flush()
        try:
            answer: tuple[Any, ...] = pickle.load(process.stdout)
        except EOFError:
            del self._processes[kind]
            return "error", "crash", f"exit status {process.wait()}"
        return answer


def _unequal(live: Packed, found: Packed) -> str | None:
    if list(live) != list(found):
        return f"outputs {', '.join(found)}, expected {', '.join(live)}"
    for name, (dtype, shape, data) in live.items():
        its_dtype, its_shape, its_data = found[name]
        if (dtype, tuple(shape)) != (its_dtype, tuple(its_shape)):
            return f"output {name!r} is {its_dtype}{its_shape}, expected {dtype}{shape}"
        if data != its_data:
            return f"output {name!r} of {dtype}{shape} has other bits"
    return None
