"""One engine built in a child process: ``python -m byoc.build.child_process``.

    parent ──pickle: vendor's name, options, segment──▶ child's stdin
           ◀──pickle: the artifact, or the error────── child's stdout

What the vendor prints goes to stderr. A child that dies is an error that says how.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from byoc.errors import ByocError, CompileError, OptionError
from byoc.segment import Artifact, Segment

if TYPE_CHECKING:
    from byoc.plugins.discovery import Requested

__all__ = ["BuildStoppedError", "build_in_process", "check_spawnable"]

_POLL = 0.1  # seconds between looks at whether the build is still wanted


class BuildStoppedError(Exception):
    """Nobody wants the engine any more; its process was ended."""


def check_spawnable(requests: Sequence[Requested]) -> None:
    """Refuse vendors that a child process could not find under their names.

    Args:
        requests: the vendors that are to compile in child processes.

    Raises:
        OptionError: a vendor was given as a value and no installed package publishes it.
    """
    from byoc.plugins.discovery import find

    for request in requests:
        name = request.vendor.name
        try:
            same = find(name) is request.vendor
        except ByocError:
            same = False
        if not same:
            raise OptionError(
                f"vendor {name!r} was given as a value: a child process can only use vendors that "
                f"are installed (entry point 'byoc.vendors'); use Background(processes=False)"
            )


def build_in_process(
    segment: Segment, requests: Sequence[Requested], stopped: Callable[[], bool]
) -> Artifact:
    """Have a segment compiled by its vendor in a child process.

    Args:
        segment: what to compile; it travels to the child with its weights.
        requests: the vendors that were asked for; the segment's is among them.
        stopped: asked ten times a second; once true, the child is killed.

    Returns:
        The vendor's artifact of the segment.

    Raises:
        BuildStoppedError: `stopped` said so.
        CompileError: the child died, or the vendor raised; the message says which.
    """
    (request,) = (r for r in requests if r.vendor.name == segment.vendor)
    task = pickle.dumps((segment.vendor, request.options.model_dump(), segment))
    child = subprocess.Popen(
        [sys.executable, "-m", "byoc.build.child_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    over = threading.Event()
    killed = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            if stopped():
                killed.set()
                child.kill()
                return

    watcher = threading.Thread(target=watch, name="byoc:build-watch")
    watcher.start()
    try:
        answer, _ = child.communicate(task)
    finally:
        over.set()
        watcher.join()
    if killed.is_set():
        raise BuildStoppedError
    if child.returncode != 0:
        raise CompileError(
            f"the process that built segment {segment.name!r} with vendor {segment.vendor!r} "
            f"ended {_how(child.returncode)}; its messages are on stderr"
        )
    kind, value = pickle.loads(answer)
    if kind == "error":
        raise CompileError(value)
    assert isinstance(value, Artifact)
    return value


def _how(code: int) -> str:
    if code > 0:
        return f"with status {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _main() -> None:
    # What the vendor prints must not get among the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from byoc.build.kernels import compile_apart
    from byoc.plugins.discovery import resolve

    name, options, segment = pickle.load(sys.stdin.buffer)
    try:
        result: tuple[str, object] = (
            "artifact",
            compile_apart(segment, resolve({name: options})),
        )
    except ByocError as error:
        result = ("error", str(error))
    with answer:
        pickle.dump(result, answer)


if __name__ == "__main__":
    _main()
