"""Functions that exporters spell out, read back as one op.

Every idiom (ops/, `Idiom`) is found from its last op, after `simplify` has turned arithmetic with
numbers into ``linear``::

    x ──────────────┐
    └─ /sqrt2 ─ erf ┴ + 1 ─ *x ─ * 0.5       the last product is asked, and reads upwards
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops import IDIOMS, Idiom
from byoc.vendor_templates.dnnl.ops.rule import Rewrite

__all__ = ["recognise_idioms"]


def recognise_idioms(graph: DnnlGraph) -> None:
    """Make each op that ends a spelled-out function compute the function; one walk."""
    for op in graph.walk():
        if op.post or op.kind not in ("binary", "eltwise"):
            continue
        last = op.attrs["alg"] if op.kind == "binary" else "eltwise"
        for rewrite in _BY_LAST.get(last, ()):
            if rewrite(graph, op):
                break


def _by_last(idioms: Iterable[Idiom]) -> Mapping[str, list[Rewrite]]:
    """Rewrites by the op they start from, so that a walk tries few of them on each op."""
    found: dict[str, list[Rewrite]] = {}
    for idiom in idioms:
        if idiom.rewrite is not None:
            found.setdefault(idiom.last, []).append(idiom.rewrite)
    return found


_BY_LAST = _by_last(IDIOMS)
