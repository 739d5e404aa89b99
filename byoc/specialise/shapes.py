"""The plans of one executable: which there are, which call gets which, when one is built.

::

    sizes ─▶ _find ──plan, of these sizes or of a bucket──▶ Choice(session, inputs, cut back)
               └─ none: _count ── the `after`-th time ──▶ _waiting ─▶ _work ─▶ _make ─▶ _plans
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byoc.dims import size_of
from byoc.errors import ArtifactError, ByocError, OptionError
from byoc.runtime import Session
from byoc.segment import Array, PortType
from byoc.specialise.options import (
    PlanUse,
    Specialisations,
    Specialise,
    check_options,
    check_outputs,
    symbolic_dims,
)
from byoc.specialise.padding import cut, difference, pad

__all__ = ["Choice", "Shapes", "saved_shapes"]

_LOG = logging.getLogger("byoc.runtime")

Key = tuple[int, ...]
"""Sizes of the symbolic dimensions, in the order of `symbolic_dims`."""

_REMEMBERED = 1024  # shapes whose uses are counted


@dataclass(slots=True, eq=False)
class _Plan:
    session: Session
    seconds: float
    prepared: bool = False
    uses: int = 0
    padded: int = 0
    checked: bool = False


@dataclass(slots=True)
class _Seen:
    """A shape without a plan."""

    count: int = 0
    wanted: int = 0  # calls to be met; doubled each time its plan was given up
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What answers a call.

    Attributes:
        session: a plan's, or that of the symbolic model.
        arrays: the inputs as it takes them.
        then: cuts the outputs back to what was asked for; None: they are that.
    """

    session: Session
    arrays: list[Array]
    then: Callable[[list[Array]], list[Array]] | None = None


class Shapes:
    """The plans of one executable; any thread may ask, any number at once.

    Args:
        vm: answers what has no plan.
        options: which shapes get a plan, and when.
        build: sizes → a session; None where nothing can be compiled.
        prepared: plans that are there from the start, with their sizes.
        note: why nothing can be compiled, for users.

    Raises:
        OptionError: options that do not fit the model.
    """

    def __init__(
        self,
        vm: Session,
        options: Specialise,
        build: Callable[[Mapping[str, int]], Session] | None,
        prepared: Sequence[tuple[Mapping[str, int], Session]] = (),
        note: str = "",
    ) -> None:
        self.vm, self.options, self._build, self._note = vm, options, build, note
        self._ports = vm.program.inputs, vm.program.outputs
        dims = symbolic_dims(vm.program.inputs)
        self.dims = tuple(dims)
        self._where = tuple(dims.values())
        self._buckets = tuple(tuple(sorted(options.buckets.get(d, ()))) for d in self.dims)
        check_options(options, vm.program.inputs)
        if options.buckets:
            check_outputs(vm.program.outputs, self.dims)
        self._lock = threading.RLock()  # the collector may call `close` wherever we allocate
        self._plans: OrderedDict[Key, _Plan] = OrderedDict()  # the last was used last
        self._fixed: dict[Key, _Plan] = {}
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()
        self._waiting: deque[Key] = deque()
        self._building: dict[Key, threading.Event] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self._padding = ""
        self._hits = self._misses = self._evictions = self._built = 0
        for sizes, session in prepared:
            _check_plan(self._ports, sizes, session)
            self._fixed[self._key(sizes)] = _Plan(session, 0.0, prepared=True)

    # -- for the executable ---------------------------------------------------------------------

    def choose(self, arrays: list[Array]) -> Choice:
        """Find who answers a call, and count it.

        Args:
            arrays: inputs that the VM's session has checked.

        Returns:
            A session and the inputs as it takes them.
        """
        key = tuple([arrays[i].shape[axis] for i, axis in self._where])
        plan, room = self._find(key)
        if plan is None and self.options.at_once and self._build is not None:
            self._build_now(room)
            plan, room = self._find(key, again=True)
        with self._lock:
            if plan is None:
                self._misses += 1
                return Choice(self.vm, arrays)
            self._hits += 1
            plan.uses += 1
            plan.padded += room != key
        if room == key:
            return Choice(plan.session, arrays)
        return self._padded(plan, arrays, dict(zip(self.dims, key, strict=True)), room)

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run the model on inputs.

        Args:
            arrays: inputs that the VM's session has checked.

        Returns:
            The outputs, in order.
        """
        choice = self.choose(arrays)
        results = choice.session.run_checked(choice.arrays)
        return results if choice.then is None else choice.then(results)

    def sessions(self) -> Iterator[Session]:
        """All sessions there are at the moment, the VM's first."""
        with self._lock:
            plans = (*self._fixed.values(), *self._plans.values())
        yield self.vm
        for plan in plans:
            yield plan.session

    def prepared(self) -> list[tuple[dict[str, int], Session]]:
        """The plans of `Specialise.shapes`."""
        return [(dict(zip(self.dims, k, strict=True)), p.session) for k, p in self._fixed.items()]

    def statistics(self) -> Specialisations:
        """What happened so far."""
        with self._lock:
            kept = itertools.chain(self._fixed.items(), self._plans.items())
            plans = [
                self._use(k, "prepared" if p.prepared else "ready", p.uses, p.padded, p.seconds)
                for k, p in kept
            ]
            plans += [self._use(k, "building") for k in (*self._building, *self._waiting)]
            plans += [
                self._use(k, "failed", message=s.failure)
                for k, s in self._seen.items()
                if s.failure
            ]
            return Specialisations(
                self._hits, self._misses, self._evictions, self._built, tuple(plans),
                self._padding, self._note,
            )  # fmt: skip

    def _use(self, key: Key, state: Any, *rest: Any, **named: Any) -> PlanUse:
        return PlanUse(dict(zip(self.dims, key, strict=True)), state, *rest, **named)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no plan is being built.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Returns:
            False when `timeout` was not enough.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._closed or not (self._waiting or self._building):
                    return True
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.005)

    def close(self) -> None:
        """Build no more plans; those there are go on."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    # -- finding a plan -------------------------------------------------------------------------

    def _key(self, sizes: Mapping[str, int]) -> Key:
        return tuple([sizes[d] for d in self.dims])

    def _find(self, key: Key, again: bool = False) -> tuple[_Plan | None, Key]:
        """The plan for these sizes and the sizes it has; counts those that have none."""
        with self._lock:
            plan = self._get(key)
            if plan is not None:
                return plan, key
            room = key if self._padding else self._room(key)
            plan = self._get(room) if room != key else None
            if plan is None and not again:
                self._count(room)
            return plan, room

    def _get(self, key: Key) -> _Plan | None:
        plan = self._fixed.get(key)
        if plan is None and (plan := self._plans.get(key)) is not None:
            self._plans.move_to_end(key)
        return plan

    def _room(self, key: Key) -> Key:
        """The sizes of the smallest buckets that hold `key`; beyond the largest: as they are."""
        return tuple(
            [
                next((b for b in buckets if b >= size), size) if buckets else size
                for size, buckets in zip(key, self._buckets, strict=True)
            ]
        )

    def _count(self, key: Key) -> None:
        """A call has met sizes without a plan: build one when it was the last needed."""
        if self._build is None or self._closed or 0 in key:
            return
        seen = self._seen.setdefault(key, _Seen(wanted=self.options.after))
        self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        seen.count += 1
        busy = key in self._building or key in self._waiting
        if seen.count < seen.wanted or seen.failure or busy or self.options.at_once:
            return
        if len(self._waiting) >= self.options.limit:
            return  # there is more to build than could be kept; it will be met again
        self._waiting.append(key)
        if self._thread is None:
            # Not a daemon: it would be torn down inside TVM when Python ends.
            self._thread = threading.Thread(target=self._work, name="byoc:specialise")
            self._thread.start()

    # -- building -------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                over = self._closed or not threading.main_thread().is_alive()
                if over or not self._waiting:
                    self._waiting.clear()
                    self._thread = None
                    return
                key = self._waiting.popleft()
                self._building[key] = threading.Event()
            self._make(key)

    def _build_now(self, key: Key) -> None:
        """Build in this thread, or wait for the one that does."""
        with self._lock:
            seen = self._seen.get(key)
            if self._get(key) is not None or self._closed or seen is None or seen.failure:
                return
            event = self._building.get(key)
            mine = event is None
            if event is None:
                event = self._building[key] = threading.Event()
        if mine:
            self._make(key)
        else:
            event.wait()

    def _make(self, key: Key) -> None:
        assert self._build is not None
        begin = time.perf_counter()
        failure = ""
        session: Session | None
        try:
            sizes = dict(zip(self.dims, key, strict=True))
            session = self._build(sizes)
            _check_plan(self._ports, sizes, session)
        except Exception as error:  # told in the statistics and the log; the VM goes on
            failure = str(error) if isinstance(error, ByocError) else ""
            failure = failure or f"{type(error).__name__}: {error}"
            session = None
        seconds = time.perf_counter() - begin
        given_up: list[_Plan] = []  # let go outside the lock
        with self._lock:
            seen = self._seen.setdefault(key, _Seen(wanted=self.options.after))
            if session is None:
                seen.failure = failure
            else:
                session.max_in_flight = self.vm.max_in_flight
                self._built += 1
                seen.count = 0
                self._plans[key] = _Plan(session, seconds)
                while len(self._plans) > self.options.limit:
                    old, plan = self._plans.popitem(last=False)
                    given_up.append(plan)
                    self._evictions += 1
                    # One more than fit are in use: each further plan has to be worth more.
                    last = self._seen.setdefault(old, _Seen(wanted=self.options.after))
                    last.count, last.wanted = 0, 2 * last.wanted
            self._building.pop(key).set()
        if session is None:
            _LOG.warning(
                "model %r has no plan for %s, its VM goes on: %s",
                self.vm.program.name, self._text(key), failure,
            )  # fmt: skip
        else:
            _LOG.info(
                "model %r: plan for %s, %.2f s", self.vm.program.name, self._text(key), seconds
            )

    def _text(self, key: Key) -> str:
        return ", ".join(f"{d} = {n}" for d, n in zip(self.dims, key, strict=True))

    # -- padding --------------------------------------------------------------------------------

    def _padded(self, plan: _Plan, arrays: list[Array], sizes: dict[str, int], room: Key) -> Choice:
        larger = dict(zip(self.dims, room, strict=True))
        inputs, outputs = self._ports
        padded = pad(inputs, arrays, larger, self.options.fill)

        def back(results: list[Array]) -> list[Array]:
            return cut(outputs, results, sizes)

        if not self.options.check or plan.checked:
            return Choice(plan.session, padded, back)
        expected = self.vm.run_checked(arrays)
        found = back(plan.session.run_checked(padded))
        why = difference(outputs, found, expected)
        if not why:
            plan.checked = True
            return Choice(plan.session, padded, back)
        with self._lock:
            self._padding = (
                f"nothing is padded any more: padded from {sizes} to {larger}, {why}; the model is "
                f"not independent of what is added"
            )
            self._hits, self._misses = self._hits - 1, self._misses + 1
            plan.uses, plan.padded = plan.uses - 1, plan.padded - 1
        _LOG.warning("model %r: %s", self.vm.program.name, self._padding)
        return Choice(self.vm, arrays)


def _check_plan(
    ports: tuple[Sequence[PortType], Sequence[PortType]], sizes: Mapping[str, int], session: Session
) -> None:
    """Inputs are checked against the VM's ports only: a plan's must be these, for its sizes.

    Raises ArtifactError.
    """
    program = session.program
    for wanted, found in zip(ports, (program.inputs, program.outputs), strict=True):
        types = [
            (p.name, tuple([size_of(d, sizes) for d in p.type.shape]), p.type.dtype) for p in wanted
        ]
        if not program.is_static or types != [(p.name, p.type.shape, p.type.dtype) for p in found]:
            raise ArtifactError(
                f"model {program.name!r}: the plan for {dict(sizes)} has the ports "
                f"{', '.join(map(str, found))}, expected "
                + ", ".join(f"{name}: {dtype}{list(shape)}" for name, shape, dtype in types)
            )


def saved_shapes(vm: Session, plans: Sequence[tuple[Mapping[str, int], Session]]) -> Shapes:
    """Make the plans of a loaded file: those it holds, and no others.

    Args:
        vm: the session of the symbolic model.
        plans: sizes by dimension, and a session for them.

    Returns:
        The plans.

    Raises:
        ArtifactError: they do not fit the model.
    """
    program = vm.program
    try:
        options = Specialise(
            shapes=[sizes for sizes, _ in plans], buckets=program.buckets, fill=program.fill
        )
        return Shapes(
            vm, options, None, plans,
            note="loaded from a file: other shapes run on the VM. Plans for them need the "
            "compiler: byoc.compile(…, specialise=…), or name them in byoc compile --shapes",
        )  # fmt: skip
    except OptionError as error:
        raise ArtifactError(f"model {program.name!r}: its plans do not fit it: {error}") from error
