"""The strategy `measured`: predict, build and time, learn, again; then a tournament.

    candidates ──search──▶ plans ──segments, composites, kernels──▶ timed ──▶ cost model ─┐
                   ▲                                                                      │
                   └─────────────── until no new plan turns up, or the budget is spent ───┘
    best plans + all-host + each vendor alone ──tournament, end to end──▶ the winner, already built

What the tournament compares includes every plan a user could have had from one vendor alone: the
plan that is shipped has been seen to be no slower than any of them, on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from math import inf
from typing import TYPE_CHECKING

from byoc.build.foreign_ops import check_placed
from byoc.build.program import build_program, with_report
from byoc.build.segments import HealSpec
from byoc.errors import ByocError, CompileError, ModelError
from byoc.measure.candidate_plans import candidate_plans
from byoc.measure.cost_model import FittedCosts
from byoc.measure.kernels import time_kernels
from byoc.measure.result import finished_report
from byoc.measure.segment_timing import REVISION, SegmentTimer
from byoc.partition.placing import Costs, Strategy, alternatives, fixed
from byoc.placement.constraints import PlacementConstraints
from byoc.plugins.discovery import Requested
from byoc.report.partition_report import PartitionReport
from byoc.report.records import HOST
from byoc.runtime import Session
from byoc.runtime.program import Isolation, Program
from byoc.segment import Array, Segment
from byoc.timing.budget import Budget
from byoc.timing.keys import digest, place_identity
from byoc.timing.progress import Progress
from byoc.timing.store import Store, Timed
from byoc.timing.tournament import Contender, race, winner

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult

__all__ = ["measure_placement"]

_SEGMENT_SHARE = 0.5  # of the budget: the rest is for building and comparing whole plans
_ROUNDS = 4
_FINALISTS = 3  # besides the plans of one place
_TOURNAMENT_SECONDS = 8.0


@dataclass
class _Plan:
    """A placement. places: op → vendor.pattern, of all ops. alone: everything is in one place that
    was asked for.
    """

    name: str
    parts: PartitionResult
    places: Mapping[int | str, str]
    alone: bool = False
    program: Program | None = None
    timed: Timed | None = None

    @property
    def signature(self) -> tuple[tuple[str, str | None, str | None], ...]:
        """Equal for plans that are one."""
        return tuple((op.place, op.pattern, op.segment) for op in self.parts.report.ops)

    @property
    def predicted(self) -> float:
        """Seconds, as the report of its partitioning has them."""
        plans = self.parts.report.plans
        return plans[-1].predicted or 0.0 if plans else 0.0


@dataclass
class _Search:
    """One run of the strategy."""

    model: Model
    requests: Sequence[Requested]
    constraints: PlacementConstraints
    budget: Budget
    store: Store
    progress: Progress
    plans: dict[object, _Plan] = field(default_factory=dict)
    failed: dict[object, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timer = SegmentTimer(self.requests, self.store)
        self.fitted = FittedCosts(self.timer, self.requests)
        self.vendors = [request.vendor for request in self.requests]

    # -- plans -------------------------------------------------------------------------------------

    @property
    def costs(self) -> Costs:
        return self.fitted.costs(self.constraints.costs)

    def partition(self, placement: str | Strategy, vendors: Sequence[str] | None = None) -> _Plan:
        chosen = [v for v in self.vendors if vendors is None or v.name in vendors]
        costs = self.costs if vendors is None else None
        constraints = replace(self.constraints, costs=costs)
        parts = constraints.partition(self.model.mod, chosen, placement)
        check_placed(parts.mod, self.model.name, chosen)
        return _Plan("", parts, _places(parts.report))

    def add(self, name: str, plan: _Plan, alone: bool = False) -> bool:
        """Keep a plan; False when it is known under another name."""
        known = self.plans.get(plan.signature)
        if known is not None:
            known.alone |= alone
            return False
        plan.name, plan.alone = name, alone
        self.plans[plan.signature] = plan
        return True

    def baselines(self) -> None:
        """Everything in one place, as users of one vendor have it: the host, each vendor alone."""
        for name in (HOST, *(v.name for v in self.vendors)):
            try:
                lone = self.partition("order", [] if name == HOST else [name])
                again = self.partition(fixed(lone.places))
            except ByocError as error:  # a policy, or an op that the host does not have
                self.failed[name] = str(error)
                continue
            self.add(HOST if name == HOST else f"{name} only", again, alone=True)

    def propose(self, label: str = "") -> int:
        """Plans of the search, with what is known by now; how many are new."""
        new = 0
        for name, strategy in self.strategies():
            try:
                plan = self.partition(strategy)
            except ModelError as error:  # an op that the host does not have
                self.failed[name] = str(error)
                continue
            new += self.add(f"{name} {label}".strip(), plan, alone=False)
        return new

    def strategies(self) -> Iterator[tuple[str, str | Strategy]]:
        """What to try: under a policy the thorough search, which knows how to obey."""
        if self.constraints.policy is None:
            if len(self.vendors) > 1:
                yield "order", "order"
            yield from ((strategy.name, strategy) for strategy in candidate_plans())
            return
        for option in alternatives(
            self.model.mod,
            self.vendors,
            count=_FINALISTS,
            policy=self.constraints.policy,
            costs=self.costs,
            min_segment_ops=self.constraints.min_segment_ops,
            min_segment_flops=self.constraints.min_segment_flops,
        ):
            yield option.name, option.strategy

    @property
    def segments(self) -> list[Segment]:
        return [s for plan in self.plans.values() for s in plan.parts.segments]

    # -- measuring ---------------------------------------------------------------------------------

    def spent(self) -> bool:
        return self.budget.left(_SEGMENT_SHARE) <= 0

    def measure(self) -> None:
        """Time the segments of all plans, host kernels, and composites; learn from them."""
        segments = [s for s in self.segments if self.timer.known(s) is None]
        self.progress.stage("segments", len(segments))
        self.timer.time(segments, enough=self.spent, done=self.progress.step)
        self.measure_host()
        if len(self.vendors) > 0:
            pieces = self.fitted.pieces_to_time()
            self.progress.stage("composites", len(pieces))
            self.timer.time(
                pieces, kind="piece", enough=self.spent, done=self.progress.step, keep=False
            )
        self.fitted.learn(self.segments)

    def measure_host(self) -> None:
        """Seconds of host ops, from the plan that is all on the host."""
        ops = self.fitted.host_ops
        place = place_identity(HOST, f"{version('tvm-byoc')} {version('apache-tvm')}", {}, "cpu")

        def key(content: str) -> str:
            return digest("kernel", REVISION, content, place, self.timer.machine)

        for op in ops.values():
            if op.content not in self.fitted.host:
                timed = self.store.get(key(op.content))
                if timed is not None:
                    self.fitted.host[op.content] = timed.seconds
        missing = {n: op for n, op in ops.items() if op.content not in self.fitted.host}
        plan = next((p for p in self.plans.values() if not p.parts.segments), None)
        if plan is None or not missing or self.spent():
            return
        if not self.build(plan) or plan.program is None or not plan.program.is_static:
            return
        self.progress.stage("host kernels", len(missing))
        found = time_kernels(plan.program, missing, enough=self.spent, done=self.progress.step)
        for content, (seconds, noise, runs) in found.items():
            self.fitted.host[content] = seconds
            self.store.put(
                key(content),
                Timed(seconds, noise, runs),
                kind="kernel",
                place=place,
                machine=self.timer.machine,
                what="a host op",
            )

    # -- whole plans -------------------------------------------------------------------------------

    def build(self, plan: _Plan) -> bool:
        """Build a plan; False, said in the report, when a segment or the host refuses."""
        if plan.program is not None:
            return True
        if plan.signature in self.failed:
            return False
        try:
            artifacts = tuple(self.timer.artifact(s) for s in plan.parts.segments)
            plan.program = build_program(self.model, plan.parts, self.requests, artifacts)
            return True
        except ByocError as error:
            self.failed[plan.signature] = str(error)
            self.progress.say(f"plan {plan.name!r} cannot be built: {error}")
            return False

    def finalists(self) -> list[_Plan]:
        """The plans of one place, which are what must not be beaten, then the best predictions."""
        plans = [replace(plan, parts=self.again(plan).parts) for plan in self.plans.values()]
        plans.sort(key=lambda plan: (plan.predicted, len(plan.parts.segments)))
        best = [p for p in plans if p.predicted < inf and not p.alone][:_FINALISTS]
        return [p for p in plans if p.alone] + best

    def again(self, plan: _Plan) -> _Plan:
        """The same placement, predicted with what is known now."""
        return self.partition(fixed(plan.places))

    def ship(self, inputs: Mapping[str, Array]) -> tuple[_Plan, list[_Plan]]:
        """Build the finalists and time them against each other; the winner, and all of them."""
        finalists = self.finalists()
        self.progress.stage("building plans", len(finalists))
        contenders: list[tuple[_Plan, Contender]] = []
        skipped = []
        for plan in finalists:
            if contenders and not plan.alone and self.budget.left() <= 0:
                skipped.append(plan)
                continue
            if self.build(plan) and plan.program is not None:
                session = Session(plan.program)
                count = len(plan.parts.segments)
                contenders.append((plan, Contender(plan.name, session.run, count)))
            self.progress.step()
        if not contenders:
            raise CompileError(
                f"model {self.model.name!r}: no placement could be built. "
                + " ".join(f"{error}" for error in self.failed.values())
            )
        if skipped:
            names = ", ".join(repr(plan.name) for plan in skipped)
            self.progress.say(
                f"the budget of {self.budget.seconds:g} s was spent before {names} could be timed; "
                f"the shipped plan is the best of those that were; run again to go on"
            )
        racing = [contender for _, contender in contenders]
        seconds = min(_TOURNAMENT_SECONDS, self.budget.left())
        self.progress.stage("whole plans", 25)
        race(racing, inputs, seconds=seconds, done=self.progress.step)
        best = winner(racing)
        for plan, contender in contenders:
            plan.timed = contender.timed
        (shipped,) = [plan for plan, contender in contenders if contender is best]
        return shipped, finalists


def measure_placement(
    model: Model,
    requests: Sequence[Requested],
    inputs: Mapping[str, Array],
    constraints: PlacementConstraints,
    *,
    store: Store,
    progress: Progress,
    budget: float | None = None,
    heal: HealSpec = None,
    isolation: Isolation | None = None,
) -> tuple[Program, PartitionReport]:
    """Place a model by measured time.

    The plans of one place are built and timed in any case: the promise costs that much.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for.
        inputs: input → array, to run whole plans on.
        constraints: what every plan has to obey.
        store: where measurements come from and go to.
        progress: told what is being measured.
        budget: seconds that measuring may take; None: until nothing changes.
        heal: host fallbacks of the winner, as `build_program` takes it; they take no time of a
            call.
        isolation: vendors that run out of process; None: none.

    Returns:
        The program that won, and the report of how.

    Raises:
        CompileError: no placement can be built.
        OptionError: no placement obeys the constraints.
    """
    run = _Search(model, requests, constraints, Budget(budget), store, progress)
    run.baselines()
    run.propose()
    for number in range(1, _ROUNDS + 1):
        run.measure()
        if run.spent() or not run.propose(str(number)):
            break
    shipped, finalists = run.ship(inputs)
    report = finished_report(
        shipped.parts.report,
        shipped.parts.segments,
        run.fitted,
        [(p.name, p.predicted, p.timed, len(p.parts.segments), p is shipped) for p in finalists],
        progress.notes,
    )
    assert shipped.program is not None
    program = shipped.program
    if heal is not None or isolation is not None:
        artifacts = tuple(run.timer.artifact(s) for s in shipped.parts.segments)
        program = build_program(
            model, shipped.parts, requests, artifacts, heal, isolation=isolation
        )
    return with_report(program, report), report


def _places(report: PartitionReport) -> dict[int | str, str]:
    return {
        op.index: op.place if op.pattern is None else f"{op.place}.{op.pattern}"
        for op in report.ops
    }
