"""The host's own seconds, kernel by kernel, from the model built for the host alone.

    kernel  fused_conv2d_add_relu      made of  conv_3, bias_3, relu_3     0.81 ms
            ▼ shared out by work
    ops     conv_3 0.78   bias_3 0.015   relu_3 0.015

One library of kernels is compiled anyway, for the plan that must not be beaten; each of its tasks
is run alone on random values. Equal kernels are timed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from byoc.measure.segment_timing import draw
from byoc.runtime.host_library import load_host
from byoc.runtime.native import as_tensor
from byoc.runtime.plan import Plan, PlanTensor, Port, Task
from byoc.runtime.program import Program
from byoc.segment import Array, TensorType
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import aligned_zeros
from byoc.timing.probes import Probe, plan_probe, time_probes

__all__ = ["HostOp", "time_kernels"]

_BATCH = 6
_SECONDS = 0.04


@dataclass(frozen=True, slots=True)
class HostOp:
    """An op as the host has it.

    Attributes:
        content: its key; equal for ops that do the same work.
        work: its share of the kernel it is in, in any unit.
    """

    content: str
    work: float


def time_kernels(
    program: Program,
    ops: Mapping[str, HostOp],
    *,
    enough: Callable[[], bool] = lambda: False,
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, tuple[float, float, int]]:
    """Time the kernels of a model that runs on the host alone, and share the time among its ops.

    Args:
        program: a model with a plan, all on the host.
        ops: name in the source model → op; kernels of other ops are left out.
        enough: asked before each batch; once true, the rest stays untimed.
        done: told how many kernels were timed.

    Returns:
        Content of an op → seconds on the host, noise (a share), and number of samples.
    """
    plan = program.body
    if not isinstance(plan, Plan) or program.host is None:
        return {}
    host = load_host(program.host, vm=False)
    constants = [as_tensor(array) for array in program.constants]
    groups: dict[tuple[object, ...], Task] = {}
    for task in plan.tasks:
        if task.kind == "host" and any(name in ops for name in task.source):
            groups.setdefault(_identity(plan, task, ops), task)
    tasks = list(groups.values())
    found: dict[str, list[tuple[float, float, int]]] = {}
    for start in range(0, len(tasks), _BATCH):
        if enough():
            break
        batch = tasks[start : start + _BATCH]
        probes = [_probe(plan, task, host, constants) for task in batch]
        for probe in probes:
            probe.start()
        times = time_probes(probes, seconds=_SECONDS * len(probes))
        for task, timed in zip(batch, times, strict=True):
            parts = [ops[name] for name in task.source if name in ops]
            whole = sum(part.work for part in parts)
            for part in parts:
                share = part.work / whole if whole > 0 else 1 / len(parts)
                row = (timed.seconds * share, timed.noise, timed.runs)
                found.setdefault(part.content, []).append(row)
        done(len(batch))
    return {content: _middle(rows) for content, rows in found.items()}


def _middle(rows: Sequence[tuple[float, float, int]]) -> tuple[float, float, int]:
    seconds = median(row[0] for row in rows)
    return min(rows, key=lambda row: abs(row[0] - seconds))


def _identity(plan: Plan, task: Task, ops: Mapping[str, HostOp]) -> tuple[object, ...]:
    """Equal for tasks that do the same work."""
    contents = tuple(ops[name].content if name in ops else "" for name in task.source)
    types = tuple((plan.tensors[a].shape, plan.tensors[a].dtype) for a in task.args)
    return (contents, types)


def _probe(plan: Plan, task: Task, host: object, constants: Sequence[object]) -> Probe:
    """The task alone: what other tasks made is drawn, constants stay what they are."""
    inputs: list[int] = []
    arrays: list[Array] = []
    tensors: list[PlanTensor] = []
    number: dict[int, int] = {}
    count = len(task.args) - task.outputs
    outputs: list[int] = []
    results: list[Array] = []
    for position, arg in enumerate(task.args):
        tensor = plan.tensors[arg]
        if position >= count:
            tensor = replace(tensor, place="output", index=len(outputs), offset=0)
            outputs.append(len(tensors))
            results.append(aligned_zeros(tensor.shape, numpy_dtype(tensor.dtype)))
        elif arg in number:
            continue
        elif tensor.place != "constant":
            tensor = replace(tensor, place="input", index=len(inputs), offset=0)
            inputs.append(len(tensors))
            arrays.append(draw(TensorType(tensor.shape, tensor.dtype), position))
        if position < count:
            number[arg] = len(tensors)
        tensors.append(tensor)
    args = (*(number[arg] for arg in task.args[:count]), *outputs)
    alone = Plan(
        inputs=tuple(Port(f"in{k}", t) for k, t in enumerate(inputs)),
        outputs=tuple(Port(f"out{k}", t) for k, t in enumerate(outputs)),
        tensors=tuple(tensors),
        tasks=(replace(task, args=args, deps=()),),
        arena_bytes=0,
    )
    return plan_probe(alone, host, {}, {}, constants, [*arrays, *results])
