"""Placement constraints: a policy, applied to the ops of a function.

In: the rules of a `Policy`, the candidates. Out: which candidates are legal, which come first,
and what each op adds to the objective on a backend where it should not be:

    exclude X, force Y   candidates of X over the op are not legal; nor is the host, where excluded
    prefer X, force X    candidates of X come first where order decides; elsewhere every other
                         backend costs a penalty far above any time: taken for a reason only

The host can always take an op, so a demand to offload is a penalty as well, and is checked when
all is placed: what is then not met cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from byoc.errors import OptionError, choices
from byoc.kit.foreign_op import FOREIGN
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.candidates import Candidates
from byoc.partition.placing.policy import Decision, Policy
from byoc.partition.placing.problem import Problem
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import HOST, OpRecord

__all__ = ["Constraints", "check_budget", "check_offload"]

_PREFER = 1e3
_FORCE = 1e6
"""Seconds."""

_LISTED = 10
"""Ops in an error message, at most."""


@dataclass(frozen=True)
class Constraints:
    """The rules of a policy, applied to the ops of a function."""

    policy: Policy

    def decisions(self, graph: OpGraph, nodes: Sequence[int]) -> dict[int, Decision]:
        """Collect what the rules say of single ops.

        Args:
            graph: snapshot of the function.
            nodes: the ops to look at.

        Returns:
            Op → decision, for ops of which some rule says something.
        """
        found: dict[int, Decision] = {}
        if not self.policy.rules:
            return found
        for node in nodes:
            if graph.ops.opaque[node]:
                continue
            decision = self._decide(graph, node)
            if decision.forced is not None or decision.marks:
                found[node] = decision
        return found

    def _decide(self, graph: OpGraph, node: int) -> Decision:
        kind = graph.values.types[graph.ops.outs[node][0]] if graph.ops.outs[node] else None
        return self.policy.decide(
            graph.ops.kind[node], (graph.ops.names[node],), "" if kind is None else kind.dtype
        )

    def rules(self, graph: OpGraph, nodes: Sequence[int], candidates: Candidates) -> dict[str, Any]:
        """Translate the rules for one scope into arguments of `Problem`.

        Args:
            graph: snapshot of the function.
            nodes: the ops of the scope.
            candidates: of the function.

        Returns:
            `penalties`, and, where some rule applies, `allowed`, `preferred` and `exempt`.
        """
        decisions = self.decisions(graph, nodes)
        penalties: dict[tuple[int, str], float] = {}
        backends = (HOST, *candidates.vendors)
        for node, decision in decisions.items():
            liked = [p for p in backends if decision.verdict(p) in ("prefer", "force")]
            for backend in backends:
                verdict = decision.verdict(backend)
                if verdict == "exclude":
                    penalties[node, backend] = _FORCE
                elif liked and backend not in liked:
                    penalties[node, backend] = _PREFER
        for node in nodes:
            if graph.ops.kind[node] in FOREIGN:  # the host could not run it
                penalties[node, HOST] = _FORCE
        if self.policy.require_full_offload:
            penalties.update({(node, HOST): _FORCE for node in nodes if not graph.ops.opaque[node]})
        if not decisions:
            return {"penalties": penalties}
        allowed: set[int] = set()
        preferred: set[int] = set()
        for node in nodes:
            for index in candidates.covering[node]:
                if index in allowed or candidates.found[index].nodes[-1] != node:
                    continue
                composite = candidates.found[index]
                said = [
                    decisions[n].verdict(composite.vendor)
                    for n in composite.nodes
                    if n in decisions
                ]
                at_home = [decisions[n].verdict(HOST) for n in composite.nodes if n in decisions]
                if "exclude" in said or "prefer" in at_home:
                    continue
                allowed.add(index)
                if "prefer" in said or "force" in said or "exclude" in at_home:
                    preferred.add(index)
        exempt = {n for n, d in decisions.items() if d.verdict(HOST) == "exclude"}
        return {
            "allowed": allowed,
            "preferred": preferred,
            "penalties": penalties,
            "exempt": exempt,
        }

    def forbids(self, graph: OpGraph, candidates: Candidates, index: int) -> str | None:
        """Name the rule that keeps a candidate away.

        Args:
            graph: snapshot of the function.
            candidates: of the function.
            index: of the candidate.

        Returns:
            "policy: <rule>", or None when the candidate is legal.
        """
        composite = candidates.found[index]
        for node, decision in self.decisions(graph, composite.nodes).items():
            backend = composite.vendor
            if decision.verdict(backend) != "exclude":
                if decision.verdict(HOST) != "prefer":
                    continue
                backend = HOST
            rule = decision.rule(backend)
            where = f" of {graph.named(node)}" if len(composite.nodes) > 1 else ""
            return f"policy: {rule}{where}"
        return None

    def check(self, problem: Problem, segments: Sequence[SegmentDraft]) -> None:
        """Check that every op of a scope is where the rules demand it.

        Args:
            problem: the scope.
            segments: where its ops went.

        Raises:
            OptionError: an op is not; with the reason why it cannot be.
        """
        graph = problem.graph
        where = {node: vendor for vendor, nodes in segments for node in nodes}
        for node, decision in self.decisions(graph, problem.nodes).items():
            backend = where.get(node, HOST)
            if decision.verdict(backend) != "exclude":
                continue
            wanted = decision.forced
            rule = decision.rule(backend if wanted is None else wanted)
            at = "" if rule is None else rule.at
            if wanted is not None:
                why = self._why(problem, node, wanted)
                raise OptionError(
                    f"{at}policy '{rule}' cannot be met for {problem.named(node)}: {why}"
                )
            why = "; ".join(self._why(problem, node, vendor) for vendor in problem.vendors)
            raise OptionError(
                f"{at}policy '{rule}' cannot be met for {problem.named(node)}: "
                f"{why or 'no vendor was given'}"
            )

    def _why(self, problem: Problem, node: int, vendor: str) -> str:
        """Why an op is not on a vendor that should have it."""
        offers = [k for k in problem.candidates.covering[node] if problem[k].vendor == vendor]
        if not offers:
            return problem.refusal(node, vendor)
        legal = [k for k in offers if k in problem.legal]
        if not legal:
            reason = self.forbids(problem.graph, problem.candidates, offers[0])
            return f"{vendor}.{problem[offers[0]].pattern} would take it, but {reason}"
        return (
            f"{vendor}.{problem[legal[0]].pattern} would take it, but another demand or limit of "
            f"the policy, or the placement, stands against it"
        )


def check_budget(policy: Policy, processors: Sequence[str]) -> None:
    """Check that a weight budget names processors of this run only.

    Args:
        policy: whose `weight_budget` is checked.
        processors: those the vendors of this run use.

    Raises:
        OptionError: a processor is unknown.
    """
    for processor in policy.weight_budget:
        if processor not in processors:
            raise OptionError(
                f"weight_budget names processor {processor!r}, which no vendor of this run uses; "
                f"{choices(processor, set(processors))}"
            )


def check_offload(ops: Sequence[OpRecord]) -> None:
    """Check that no op is on the host.

    Args:
        ops: the records of all ops of the module.

    Raises:
        OptionError: naming the ops that are, with the reasons.
    """
    left = [op for op in ops if op.place == HOST]
    if not left:
        return
    lines = []
    for op in left[:_LISTED]:
        reasons = "; ".join(map(str, op.refusals)) or "no vendor may take it"
        lines.append(f"  #{op.index} {op.op} ({op.name}): {reasons}")
    if len(left) > _LISTED:
        lines.append(f"  … and {len(left) - _LISTED} more")
    raise OptionError(
        f"require_full_offload: {len(left)} of {len(ops)} ops stay on the host:\n"
        + "\n".join(lines)
    )
