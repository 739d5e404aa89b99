"""Seconds to pass work from one processor's queue to another's, the latency of a queue hop::

one queue     copy ─ copy ─ copy ─ copy          64 tiny tasks, one after another
two queues    copy     copy                      the same, every second one on the other queue;
copy     copy                  the difference, shared out, is one hop
"""

from __future__ import annotations

from byoc.runtime.plan import Plan, PlanTensor, Port, Task
from byoc.support.memory import aligned_zeros
from byoc.timing.probes import plan_probe, time_probes
from byoc.timing.store import Timed

__all__ = ["time_queue_hop"]

_TASKS = 64


def time_queue_hop(one: str, other: str) -> Timed:
    """Time how long a request takes from one processor's queue to another's.

    Args:
        one: a queue, as vendors name theirs.
        other: the queue that depends on it.

    Returns:
        Seconds of one hop; 0 when they are one queue.
    """
    if one == other:
        return Timed(0.0)
    arrays = [aligned_zeros((16,), "float32") for _ in range(2)]
    arrays[0][...] = 0
    probes = [
        plan_probe(_chain(pair), None, {}, {}, [], arrays) for pair in ((one, one), (one, other))
    ]
    for probe in probes:
        probe.start()
    alone, both = time_probes(probes, seconds=0.05)
    seconds = max(0.0, both.seconds - alone.seconds) / _TASKS
    return Timed(seconds, both.noise, both.runs)


def _chain(processors: tuple[str, str]) -> Plan:
    """Copies back and forth between two buffers, so that each needs the one before."""
    tensors = (
        PlanTensor((16,), "float32", "input", 0),
        PlanTensor((16,), "float32", "arena", 0, 0),
        PlanTensor((16,), "float32", "arena", 0, 64),
        PlanTensor((16,), "float32", "output", 0),
    )
    tasks = []
    for k in range(_TASKS):
        source = 0 if k == 0 else 1 + (k - 1) % 2
        target = 3 if k == _TASKS - 1 else 1 + k % 2
        before = (k - 1,) if k else ()
        tasks.append(
            Task("copy", "copy", (source, target), 1, before, processors[k % 2], ("hand-over",))
        )
    return Plan((Port("x", 0),), (Port("y", 3),), tensors, tuple(tasks), 128)
