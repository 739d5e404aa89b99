"""An exploration as text and as values for JSON."""

from __future__ import annotations

from typing import Any

from byoc.dse.ladder import Scored
from byoc.dse.limits import utilisation
from byoc.dse.pareto import pareto_front
from byoc.dse.search import DesignStep, Exploration

__all__ = ["describe_step", "differing", "table", "to_dict"]


def differing(machine: Scored, other: Scored) -> str:
    """Return the knobs of a machine that another one has otherwise: ``array.rows=32 …``.

    Args:
        machine: The machine.
        other: What it is compared with.
    """
    words = [f"{k}={v}" for k, v in machine.values.items() if other.values[k] != v]
    return " ".join(words) or "(the default)"


def describe_step(step: DesignStep) -> str:
    """Return one line of the way: what was waited for, what was changed, what came of it.

    Args:
        step: The step.
    """
    speed = f"{1 / step.scored.score:.2f}x"
    if not step.unit:
        return f"{speed}  start: the best bound of its part of the space"
    (knob, before, after), *paid = step.changed
    text = f"{speed}  {step.unit} takes {step.share:.0%}: {knob} {before} → {after}"
    if paid:
        text += "; paid for by " + ", ".join(f"{k} {b} → {a}" for k, b, a in paid)
    return text


def table(found: Exploration) -> str:
    """Return the Pareto front, with the default machine, as text.

    Args:
        found: The exploration.
    """
    names = list(found.limits)
    head = ["speed", "full", *names, *(f"cycles {m}" for m in found.default.evaluation.cycles), ""]
    rows = [head]
    machines = [found.default, *pareto_front(found.scored, found.limits)]
    for machine in machines:
        shown = "default" if machine is found.default else differing(machine, found.default)
        rows.append([
            f"{1 / machine.score:.2f}x",
            f"{utilisation(machine.area, found.limits):.0%}",
            *(str(machine.area[name]) for name in names),
            *(str(cycles) for cycles in machine.evaluation.cycles.values()),
            shown,
        ])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(c.rjust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def to_dict(found: Exploration) -> dict[str, Any]:
    """Return an exploration as JSON holds it.

    Args:
        found: The exploration.
    """

    def machine(scored: Scored) -> dict[str, Any]:
        return {
            "values": dict(scored.values),
            "speed": 1 / scored.score,
            "full": utilisation(scored.area, found.limits),
            "area": dict(scored.area),
            "cycles": dict(scored.evaluation.cycles),
        }

    return {
        "best": machine(found.best),
        "default": machine(found.default),
        "front": [machine(m) for m in pareto_front(found.scored, found.limits)],
        "machines": [machine(m) for m in found.scored],
        "path": [
            {
                "unit": step.unit,
                "share": step.share,
                "changed": [list(change) for change in step.changed],
                "machine": machine(step.scored),
            }
            for step in found.steps
        ],
        "limits": found.limits,
        "evaluations": found.counts,
        "equal_code": found.equal,
        "size": found.size,
        "seconds": found.seconds,
        "stopped": found.stopped,
    }
