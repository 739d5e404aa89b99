"""A session's requests in flight: permits (back-pressure), futures, deadlines.

In: arguments of requests that nobody waits for. Out: a `Future` for each. The C++ executor runs the
requests; this side limits how many are in flight and completes their futures::

    submit ─▶ permit free? ─▶ processors … ─▶ done ─▶ thread "byoc:done" ─▶ future, permit free
              (else wait)                             (looks after deadlines, too)

The thread belongs to a session, starts with its first request and ends with the session. It runs
the callbacks of its futures, so nothing that a callback raises may end it.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from byoc.errors import ArtifactError, ExecutionError, InputError
from byoc.support.arguments import check_number

__all__ = [
    "DeadlineError",
    "Finished",
    "Future",
    "QueueFullError",
    "RequestQueue",
    "check_seconds",
]

_FOREVER = 1e9  # seconds
_LOG = logging.getLogger("byoc.runtime")
_ERRORS: Mapping[str, type[Exception]] = {
    "byoc.ExecutionError": ExecutionError,
    "byoc.ArtifactError": ArtifactError,
}


_left_to_vendors: list[tuple[Any, ...]] = []
"""Memory of requests whose vendor did not end a cancelled call, and may use it ever after."""

_completing = threading.local()  # has `here` on the threads that complete futures


@contextmanager
def _nothing_escapes() -> Iterator[None]:
    """Log whatever the body raises: others wait for the thread that runs it."""
    try:
        yield
    except BaseException:
        with suppress(BaseException):  # the handlers of a log are the user's code, too
            _LOG.exception("a request could not be completed as it should")


def _call_back(callback: Callable[[Any], object], future: Any) -> None:
    """Run a callback; on the completing thread it ends neither the thread nor later callbacks."""
    try:
        callback(future)
    except Exception:
        raise  # `concurrent.futures` logs these
    except BaseException:
        if not hasattr(_completing, "here"):
            raise  # in a thread of the user's, who may well want to end it
        with _nothing_escapes():
            _LOG.exception("a callback of %r raised an exception that ends threads", future)


class DeadlineError(ExecutionError):
    """A request was not done in the time it was given."""


class QueueFullError(ExecutionError):
    """No permit became free in the time given: `max_in_flight` requests are in flight."""


def check_seconds(deadline: object, timeout: object = None) -> None:
    """Refuse times that are none, before a permit is taken.

    Args:
        deadline: Seconds above 0, or None.
        timeout: Seconds, or None.

    Raises:
        InputError: One of them is something else.
    """
    for name, value in (("deadline", deadline), ("timeout", timeout)):
        if value is not None:
            check_number(name, value, InputError)
    if isinstance(deadline, (int, float)) and deadline <= 0:
        raise InputError(f"deadline must be seconds above 0, found {deadline!r}")


class Future(concurrent.futures.Future[Any]):
    """The result of a request in flight: a `concurrent.futures.Future` that can also be awaited.

    `cancel` always succeeds before the result is there. Tasks that have not begun are left out; the
    one that runs is not torn down, and the request keeps its buffers and permit until it ends.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop

    def cancel(self) -> bool:
        """Ask to drop the request.

        Returns:
            True unless the request is done.
        """
        try:
            return super().cancel()
        finally:  # callbacks run in there, and may raise
            if self.cancelled():
                self._stop()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call ``fn(future)`` once the future is done, as `concurrent.futures.Future` does.

        It runs on the thread that completes the session's futures, or at once where the future is
        done. Whatever it raises on that thread is logged; it holds up neither other callbacks nor
        other requests.
        """
        super().add_done_callback(partial(_call_back, fn))

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio  # who awaits has it; others do without its import

        return asyncio.wrap_future(self).__await__()


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished request brings back from the executor.

    Args:
        results: Tensors that a VM returned; empty for a plan, which writes where it was told.
        trace: int64 tensor of times in ns (see runtime/src/plan/executor.h).
    """

    results: tuple[Any, ...]
    trace: Any


@dataclass(slots=True)
class _Pending:
    future: Future
    finish: Callable[[Finished], Any]
    kept: tuple[Any, ...]  # the arrays that are read and written meanwhile
    due: float | None
    seconds: float | None
    claimed: bool = False  # its future was completed, or found cancelled


class RequestQueue:
    """Takes requests for one executor, limits how many are in flight, completes their futures.

    Any thread may call it. A request holds a *permit* from before it begins until it ends.

    Args:
        open_queue: The executor's ``open`` (see runtime/src/bindings/ffi.cc).
        limit: Number of permits: requests in flight at once.
    """

    def __init__(self, open_queue: Callable[[], Mapping[str, Any]], limit: int) -> None:
        functions = open_queue()
        self._submit, self._cancel = functions["submit"], functions["cancel"]
        self._take, self._wake = functions["take"], functions["wake"]
        self.limit = limit
        self.pid = os.getpid()  # a forked child needs a queue, and a thread, of its own
        self._lock = threading.Lock()
        self._tickets = itertools.count()
        self._pending: dict[int, _Pending] = {}
        self._taken = 0
        self._waiting: deque[concurrent.futures.Future[None]] = deque()  # who waits for a permit
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="byoc:done", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ExecutionError(
                f"cannot start the thread that completes requests: {error}; this process has as "
                f"many threads as it may: raise the limit (ulimit -u, pids.max of its control "
                f"group) or use fewer threads"
            ) from None

    # -- permits --------------------------------------------------------------------------------

    def permit(self) -> concurrent.futures.Future[None]:
        """Ask for a permit, the right to have one request in flight.

        Returns:
            A future that is done when the permit is granted; permits are granted in order. Who
            does not want it any more cancels the future, or releases the permit if it was granted.
        """
        grant: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            # A callback on our own thread must not wait for that thread.
            if self._taken < self.limit or threading.current_thread() is self._thread:
                self._taken += 1
                grant.set_result(None)
            else:
                self._waiting.append(grant)
        return grant

    def release(self) -> None:
        """Give a permit back; the longest waiting caller gets it."""
        with self._lock:
            self._taken -= 1
            while self._waiting and self._taken < self.limit:
                grant = self._waiting.popleft()
                if grant.set_running_or_notify_cancel():
                    self._taken += 1
                    grant.set_result(None)

    def wait_for_permit(self, seconds: float | None) -> None:
        """Take a permit, waiting until one is free.

        Args:
            seconds: How long to wait; None: as long as it takes.

        Raises:
            QueueFullError: None became free in time.
        """
        grant = self.permit()
        try:
            grant.result(seconds)
        except concurrent.futures.TimeoutError:
            if grant.cancel():
                raise QueueFullError(
                    f"{self.limit} requests are in flight and none ended within {seconds} s; "
                    f"wait longer, or raise max_in_flight"
                ) from None
        except BaseException:
            if not grant.cancel():
                self.release()
            raise

    # -- requests -------------------------------------------------------------------------------

    def start(
        self,
        args: tuple[Any, ...],
        kept: tuple[Any, ...],
        finish: Callable[[Finished], Any],
        deadline: float | None = None,
        traced: bool = False,
    ) -> Future:
        """Begin a request whose permit was taken before; the permit is given back when it ends.

        Args:
            args: Arguments of the executor's ``submit``: tensors or addresses, in order.
            kept: Objects that must live until the request ends (the memory behind `args`).
            finish: Makes the future's value of what the executor brings back.
            deadline: Seconds above 0 from now until the future raises `DeadlineError`; None: never.
            traced: Record the times of every task.

        """
        ticket = next(self._tickets)
        future = Future(lambda: self._cancel(ticket))
        due = None if deadline is None else time.monotonic() + deadline
        with self._lock:
            self._pending[ticket] = _Pending(future, finish, kept, due, deadline)
        try:
            self._submit(ticket, traced, float(deadline or 0), *args)
        except BaseException:
            with self._lock:
                del self._pending[ticket]
            self.release()
            raise
        if due is not None:
            self._wake()  # the thread may be asleep for longer
        return future

    @property
    def in_flight(self) -> int:
        """Number of requests begun and not ended."""
        with self._lock:
            return len(self._pending)

    def close(self) -> None:
        """Let the thread end once nothing is in flight."""
        self._closed = True
        self._wake()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        _completing.here = True
        while True:
            with self._lock:
                if self._closed and not self._pending:
                    return
                due = min((p.due for p in self._pending.values() if p.due), default=None)
            patience = _FOREVER if due is None else max(0.0, due - time.monotonic())
            for item in self._take(patience):
                with _nothing_escapes():
                    self._done(item[0], item)
            if due is not None:
                self._expire(time.monotonic())

    @staticmethod
    def _claim(pending: _Pending) -> bool:
        """Return whether the future is still to be completed; from then on it cannot be cancelled.

        Asking and taking is one step, for another thread may cancel at any moment.
        """
        if pending.claimed:
            return False
        pending.claimed = True
        return pending.future.set_running_or_notify_cancel()

    def _done(self, ticket: int, item: Sequence[Any]) -> None:
        with self._lock:
            pending = self._pending.pop(ticket)
        self.release()
        _, kind, message, trace, results, abandoned = item
        if abandoned:
            _left_to_vendors.append(pending.kept)
            _LOG.warning("%s", message)
        if not self._claim(pending):
            return  # cancelled, or its deadline came first
        try:
            if kind:
                raise _ERRORS.get(str(kind), ExecutionError)(str(message))
            value = pending.finish(Finished(tuple(results), trace))
        except BaseException as error:
            pending.future.set_exception(error)
        else:
            pending.future.set_result(value)

    def _expire(self, now: float) -> None:
        with self._lock:
            late = [(t, p) for t, p in self._pending.items() if p.due is not None and p.due <= now]
            for _, pending in late:
                pending.due = None
        for ticket, pending in late:
            with _nothing_escapes():
                self._cancel(ticket)
                if not pending.future.cancelled() and self._claim(pending):
                    pending.future.set_exception(
                        DeadlineError(
                            f"the request was not done within {pending.seconds} s; tasks that had "
                            f"not begun were left out"
                        )
                    )
