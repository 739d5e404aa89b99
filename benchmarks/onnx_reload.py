"""A process that loads saved models and runs them; TVM is not imported there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Reloader"]


class Reloader:
    """The process, started when first asked and again when it died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def run(
        self, path: Path, feeds: Sequence[Mapping[str, Any]]
    ) -> tuple[str, list[dict[str, Any]] | str]:
        """("ok", results of each set of inputs), ("error", why) or ("crash", exit status)."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump((str(path), [dict(f) for f in feeds]), self.process.stdin)
            self.process.stdin.flush()
            kind, found = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            status = self.process.wait()
            self.end()
            return "crash", f"exit status {status}"
        return kind, found

    def end(self) -> None:
        """Stop the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()
            self.process = None


def _serve() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import byoc

    while True:
        try:
            path, feeds = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: tuple[str, Any]
        try:
            program = byoc.load(path)
            results = [program.run(feed) for feed in feeds]
            answer = "ok", [{p.name: r[p.name] for p in program.outputs} for r in results]
            if "tvm" in sys.modules:
                answer = "error", "TVM was imported"
        except Exception as error:
            answer = "error", f"{type(error).__name__}: {error}"
        pickle.dump(answer, out)
        out.flush()


if __name__ == "__main__":
    _serve()
