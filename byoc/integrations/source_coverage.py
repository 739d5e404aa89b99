"""What vendors take of a model, told of its lines of source."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

import byoc
from byoc.integrations.torch_export import export

__all__ = ["coverage", "measure"]

_PLACE = re.compile(r'File "([^"]+)", line (\d+), in ')
_CALLS = 30


def coverage(
    model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], vendors: Sequence[str]
) -> dict[str, Any]:
    """Partition a model and say what offloads, in all and line by line.

    Args:
        model: The model.
        args: What it is called with.
        kwargs: The same, by name.
        vendors: Names of vendors.

    Returns:
        "summary": kernels (composites of vendors and ops of the host), ops on the host, share of
        FLOPs that offloads; or why the model cannot be exported. "reasons": refusals, with file
        and line.
    """
    try:
        program = export(model.eval(), args, kwargs)
        result = byoc.partition_model(program, vendors=list(vendors))
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
        return {"summary": {"failed": why}, "reasons": []}
    report = result.report
    host = [op for op in report.ops if op.place == "host"]
    total = sum(op.flops or 0 for op in report.ops)
    taken = sum(op.flops or 0 for op in report.ops if op.place != "host")
    summary = {
        "kernels": sum(len(s.composites) for s in result.segments) + len(host),
        "host": len(host),
        "share": round(taken / total, 4) if total else 1.0,
    }
    places = {}
    for node in program.graph.nodes:
        found = _PLACE.findall(node.meta.get("stack_trace") or "")
        if found:
            places[node.name] = found[-1]
    reasons = [
        {"path": places[op.name][0], "line": int(places[op.name][1]), "op": op.name,
         "reason": "; ".join(map(str, op.refusals))}
        for op in host
        if op.name in places and op.refusals
    ]  # fmt: skip
    return {"summary": summary, "reasons": reasons}


def measure(
    models: Sequence[torch.nn.Module],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    vendors: Sequence[str],
) -> list[float]:
    """Return the median seconds of a compiled call of each model, called in turns.

    Args:
        models: The models.
        args: What they are called with.
        kwargs: The same, by name.
        vendors: Names of vendors.
    """
    calls = []
    for model in models:
        compiled = byoc.compile(export(model.eval(), args, kwargs), vendors=list(vendors))
        arrays = [
            t.detach().numpy() for t in (*args, *kwargs.values()) if isinstance(t, torch.Tensor)
        ]
        inputs = dict(zip((port.name for port in compiled.inputs), arrays, strict=False))
        calls.append((compiled, inputs))
    seconds: list[list[float]] = [[] for _ in models]
    for turn in range(_CALLS):
        for number, (compiled, inputs) in enumerate(calls):
            start = time.perf_counter()
            compiled.run(inputs)
            if turn > 2:
                seconds[number].append(time.perf_counter() - start)
    return [sorted(times)[len(times) // 2] for times in seconds]
