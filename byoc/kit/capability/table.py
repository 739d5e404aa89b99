"""The op table of a vendor's documentation, written from its capabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from byoc.kit.capability.claims import ANY, Capability, Operand, Range

__all__ = ["op_table"]


def op_table(capabilities: Sequence[Capability]) -> str:
    """Return a table in Markdown: one row for each capability.

    Args:
        capabilities: What a vendor takes.
    """
    lines = [
        "| op | dtypes | inputs | attributes | may follow | limits |",
        "|---|---|---|---|---|---|",
    ]
    for c in capabilities:
        inputs = [f"{n}: {text}" for n, o in enumerate(c.inputs) if (text := _operand(o))]
        attrs = [f"{name} {_legal(legal)}" for name, legal in c.attrs.items()]
        cells = (
            f"`{c.op}`",
            ", ".join(c.dtypes),
            "; ".join(inputs) or "any",
            "; ".join(attrs) or "those of Relax by default",
            ", ".join(str(step).replace("|", " or ") for step in c.steps) or "nothing",
            "; ".join(_limits(c)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _operand(operand: Operand) -> str:
    words = []
    if operand.constant is not None:
        words.append("a constant" if operand.constant else "of run time")
    if operand.rank:
        words.append(f"rank {' or '.join(map(str, operand.rank))}")
    if operand.dtypes:
        words.append(" or ".join(operand.dtypes))
    words += [f"axis {axis}: {_legal(sizes)}" for axis, sizes in operand.dims.items()]
    if operand.max_elements is not None:
        words.append(f"at most {operand.max_elements} elements")
    return ", ".join(words)


def _limits(capability: Capability) -> Iterator[str]:
    yield "symbolic dimensions too" if capability.symbolic else "static shapes"
    if capability.max_bytes is not None:
        yield f"at most {capability.max_bytes} bytes"
    if capability.note:
        yield capability.note


def _legal(legal: Any) -> str:
    if legal == ANY:
        return "any"
    if isinstance(legal, Range):
        return str(legal)
    choices = legal if isinstance(legal, list) else [legal]
    return " or ".join(str(tuple(c) if isinstance(c, list) else c) for c in choices)
