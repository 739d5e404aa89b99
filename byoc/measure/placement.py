"""The strategy `measured`: predict, build and time, learn, again; then a race.

    candidates ──search──▶ plans ──segments, composites, kernels──▶ timed ──▶ figures ─┐
                   ▲                                                                   │
                   └───────────── until no new plan turns up, or the budget is spent ──┘
    best plans + all-host + each vendor alone ──race, end to end──▶ the winner, already built

What the race compares includes every plan a user could have had from one vendor alone: the plan
that is shipped has been seen to be no slower than any of them, on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from math import inf
from typing import TYPE_CHECKING

from byoc.build.program import HealSpec, build_program
from byoc.errors import ByocError, CompileError, ModelError
from byoc.kit.foreign_op import check_placed
from byoc.measure.cost_model import Figures
from byoc.measure.kernels import time_kernels
from byoc.measure.proposals import proposals
from byoc.measure.result import finished_report
from byoc.measure.segment_timing import REVISION, Workshop
from byoc.partition import PartitionReport, partition_module
from byoc.partition.placing import Costs, Strategy, alternatives, fixed
from byoc.plugins.discovery import Requested
from byoc.report.records import HOST
from byoc.runtime import Session
from byoc.runtime.program import Program
from byoc.segment import Array, Segment
from byoc.timing.budget import Budget
from byoc.timing.keys import digest, place_identity
from byoc.timing.progress import Progress
from byoc.timing.store import Store, Timed
from byoc.timing.tournament import Contender, race, winner

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.partition.placing.policy import Policy

__all__ = ["Limits", "measure_placement"]

_SEGMENT_SHARE = 0.5  # of the budget: the rest is for building and racing whole plans
_ROUNDS = 4
_FINALISTS = 3  # besides the plans of one place
_RACE_SECONDS = 8.0


@dataclass(frozen=True)
class Limits:
    """Smallest segments, as `partition_module` takes them."""

    min_segment_ops: int | None = None
    min_segment_flops: float | None = None

    def arguments(self) -> dict[str, float | int | None]:
        """As keyword arguments."""
        return {
            "min_segment_ops": self.min_segment_ops,
            "min_segment_flops": self.min_segment_flops,
        }


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
    policy: Policy | None
    given: Costs | None
    limits: Limits
    budget: Budget
    store: Store
    progress: Progress
    plans: dict[object, _Plan] = field(default_factory=dict)
    failed: dict[object, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.workshop = Workshop(self.requests, self.store)
        self.figures = Figures(self.workshop, self.requests)
        self.vendors = [request.vendor for request in self.requests]

    # -- plans -------------------------------------------------------------------------------------

    @property
    def costs(self) -> Costs:
        return self.figures.costs(self.given)

    def partition(self, placement: str | Strategy, vendors: Sequence[str] | None = None) -> _Plan:
        chosen = [v for v in self.vendors if vendors is None or v.name in vendors]
        parts = partition_module(
            self.model.mod,
            chosen,
            placement=placement,
            policy=self.policy,
            costs=self.costs if vendors is None else None,
            **self.limits.arguments(),  # type: ignore[arg-type]
        )
        check_placed(parts.mod, self.model.name, [v.name for v in chosen])
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
        if self.policy is None:
            if len(self.vendors) > 1:
                yield "order", "order"
            yield from ((strategy.name, strategy) for strategy in proposals())
            return
        for option in alternatives(
            self.model.mod,
            self.vendors,
            count=_FINALISTS,
            policy=self.policy,
            costs=self.costs,
            **self.limits.arguments(),  # type: ignore[arg-type]
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
        segments = [s for s in self.segments if self.workshop.known(s) is None]
        self.progress.stage("segments", len(segments))
        self.workshop.time(segments, enough=self.spent, done=self.progress.step)
        self.measure_host()
        if len(self.vendors) > 0:
            pieces = self.figures.pieces_to_time()
            self.progress.stage("composites", len(pieces))
            self.workshop.time(
                pieces, kind="piece", enough=self.spent, done=self.progress.step, keep=False
            )
        self.figures.learn(self.segments)

    def measure_host(self) -> None:
        """Seconds of host ops, from the plan that is all on the host."""
        ops = self.figures.host_ops
        place = place_identity(HOST, f"{version('tvm-byoc')} {version('apache-tvm')}", {}, "cpu")

        def key(content: str) -> str:
            return digest("kernel", REVISION, content, place, self.workshop.machine)

        for op in ops.values():
            if op.content not in self.figures.host:
                timed = self.store.get(key(op.content))
                if timed is not None:
                    self.figures.host[op.content] = timed.seconds
        missing = {n: op for n, op in ops.items() if op.content not in self.figures.host}
        plan = next((p for p in self.plans.values() if not p.parts.segments), None)
        if plan is None or not missing or self.spent():
            return
        if not self.build(plan) or plan.program is None or not plan.program.is_static:
            return
        self.progress.stage("host kernels", len(missing))
        found = time_kernels(plan.program, missing, enough=self.spent, done=self.progress.step)
        for content, (seconds, noise, runs) in found.items():
            self.figures.host[content] = seconds
            self.store.put(
                key(content),
                Timed(seconds, noise, runs),
                kind="kernel",
                place=place,
                machine=self.workshop.machine,
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
            artifacts = tuple(self.workshop.artifact(s) for s in plan.parts.segments)
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
        """The same placement, priced with what is known now."""
        return self.partition(fixed(plan.places))

    def ship(self, inputs: Mapping[str, Array]) -> tuple[_Plan, list[_Plan]]:
        """Build and race the finalists; the winner, and all that were considered."""
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
        seconds = min(_RACE_SECONDS, self.budget.left())
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
    *,
    store: Store,
    progress: Progress,
    budget: float | None = None,
    policy: Policy | None = None,
    costs: Costs | None = None,
    limits: Limits | None = None,
    heal: HealSpec = None,
) -> tuple[Program, PartitionReport]:
    """Place by measured time; the program that won, built, and the report of how.

    inputs: by name, for whole plans. budget: seconds that measuring may take, None: until nothing
    changes. The plans of one place are built and timed in any case: the promise costs that much.
    heal: host twins of the winner, as `build_program` takes it; twins take no time of a call.
    Raises CompileError when no placement can be built, OptionError when none obeys the policy.
    """
    run = _Search(
        model, requests, policy, costs, limits or Limits(), Budget(budget), store, progress
    )
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
        run.figures,
        [(p.name, p.predicted, p.timed, len(p.parts.segments), p is shipped) for p in finalists],
        progress.notes,
    )
    assert shipped.program is not None
    if heal is None:
        return shipped.program, report
    artifacts = shipped.program.artifacts
    return build_program(model, shipped.parts, requests, artifacts, heal), report


def _places(report: PartitionReport) -> dict[int | str, str]:
    return {
        op.index: op.place if op.pattern is None else f"{op.place}.{op.pattern}"
        for op in report.ops
    }
