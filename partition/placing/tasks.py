"""A grouped plan as tasks: segments and host ops, with launch, borders and dependencies.

In: the segments of one scope and the composites inside. Out: tasks with seconds and a processor,
which `makespan.elapsed` adds up or schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.match import MatchedComposite
from byoc.partition.placing.cost_model import CostModel
from byoc.partition.placing.makespan import TimedTask
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import HOST

__all__ = ["make_tasks"]


def make_tasks(
    graph: OpGraph,
    nodes: Sequence[int],
    cost_model: CostModel,
    segments: Sequence[SegmentDraft],
    composites: Iterable[MatchedComposite],
) -> list[TimedTask]:
    """Make the tasks of one scope: its segments, then its host ops.

    A border belongs to the segment it enters, or leaves for the host.

    Args:
        graph: snapshot of the function.
        nodes: the ops of the scope, in topological order.
        cost_model: seconds.
        segments: of the scope.
        composites: those inside the segments; each is added to its segment's seconds, unless the
            segment was measured as a whole.
    """
    unit = {node: k for k, (_, inside) in enumerate(segments) for node in inside}
    count = len(segments)
    tasks = [TimedTask(cost_model.launch(v), cost_model.processor(v)) for v, _ in segments]
    for composite in composites:
        tasks[unit[composite.nodes[0]]].seconds += cost_model.composite(composite)
    for k, (vendor, inside) in enumerate(segments):
        whole = cost_model.segment(vendor, inside)
        if whole is not None:
            tasks[k].seconds = whole
    here, members = set(nodes), [inside for _, inside in segments]
    for node in nodes:
        if node not in unit:
            unit[node] = len(tasks)
            members.append((node,))
            fed = cost_model.fused_with(node)
            fused = fed >= 0 and unit.get(fed, -1) >= count
            tasks.append(TimedTask(cost_model.host(node, fused), cost_model.processor(HOST)))
    for at, inside in enumerate(members):
        after = tasks[at].after
        for node in inside:
            after.update([unit[n] for n in graph.preds(node) if n in here])
        after.discard(at)
        if at < count:
            _charge(graph, cost_model, at, segments, unit, tasks)
    return tasks


def _charge(
    graph: OpGraph,
    cost_model: CostModel,
    at: int,
    segments: Sequence[SegmentDraft],
    unit: Mapping[int, int],
    tasks: Sequence[TimedTask],
) -> None:
    """The borders of one segment: inputs from the host, outputs to wherever they go."""
    count = len(segments)
    vendor, inside = segments[at]
    entering: dict[int, None] = {}
    for node in inside:
        for value in graph.ops.ins[node]:
            if (
                value not in graph.values.constants
                and unit.get(graph.values.producer[value], count) >= count
            ):
                entering[value] = None
        for value in graph.ops.outs[node]:
            readers = {min(unit.get(user, count), count) for user in graph.values.users[value]}
            readers.discard(at)
            for reader in sorted(readers):
                if reader == count:
                    tasks[at].seconds += cost_model.border(vendor, HOST, cost_model.size(value))
                else:
                    other = segments[reader][0]
                    tasks[reader].seconds += cost_model.border(
                        vendor, other, cost_model.size(value)
                    )
    for value in entering:
        tasks[at].seconds += cost_model.border(HOST, vendor, cost_model.size(value))
