"""One pattern per op the shared exporter can write, its refusal is the check; and opaque nodes."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.interchange import EXPORTABLE, refusal
from byoc.opaque import OP, register
from byoc.patterns import any_call
from byoc.vendor import Match, Pattern, Reject

__all__ = ["patterns"]


def _check(match: Match) -> Reject | None:
    reason = refusal(match)
    return None if reason is None else Reject(reason)


def patterns() -> Sequence[Pattern]:
    """Every exportable op on its own, since the engine fuses by itself, and what no op is."""
    register()
    opaque = Pattern(name="opaque", expr=any_call(OP))
    return [
        opaque,
        *(
            Pattern(
                name=op.removeprefix("nn.").replace(".", "_"),
                expr=any_call(op),
                check=_check,
            )
            for op in sorted(EXPORTABLE)
        ),
    ]
