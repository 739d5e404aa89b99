"""Every op the vendor takes: one `OpRule` for a Relax op, one `Idiom` for a function spelled out.

Modules are by family; a new op is one value in the `RULES` or `IDIOMS` of its module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byoc.vendor_templates.dnnl.ops import (
    activations,
    conv,
    elementwise,
    lrn,
    matmul,
    norm,
    pool,
    quantised,
    reduce,
    shape,
)
from byoc.vendor_templates.dnnl.ops.rule import Idiom, OpRule

__all__ = ["IDIOMS", "RULES", "Idiom", "OpRule", "limits_table"]


def _table(families: Iterable[Iterable[OpRule]]) -> Mapping[str, OpRule]:
    table: dict[str, OpRule] = {}
    for rules in families:
        for rule in rules:
            if rule.op in table:
                raise ValueError(f"vendor author: two rules for op {rule.op!r}")
            table[rule.op] = rule
    return table


RULES: Mapping[str, OpRule] = _table(
    family.RULES for family in (conv, matmul, pool, elementwise, norm, reduce, shape, quantised)
)
"""Relax name without prefix → rule."""

IDIOMS: Sequence[Idiom] = (*matmul.IDIOMS, *lrn.IDIOMS, *activations.IDIOMS)
"""Functions that exporters spell out, in the order their patterns are tried."""


def limits_table() -> str:
    """The table of ops and limits in README.md."""
    rows: dict[str, list[str]] = {}
    for rule in RULES.values():
        rows.setdefault(rule.limits, []).append(f"`{rule.op}`")
    lines = ["| ops | limits |", "|---|---|"]
    lines += [f"| {', '.join(ops)} | {limits} |" for limits, ops in rows.items()]
    return "\n".join(lines) + "\n"
