"""Transposes before matrix products become flags: ``a @ transpose(b) = matmul(a, b, transpose_b)``.

The model's own weight array stays as it is, which also keeps it shared with whoever else uses it.
"""

from __future__ import annotations

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp

__all__ = ["absorb_transposes"]


def absorb_transposes(graph: DnnlGraph) -> None:
    """Turn transposes of the last two dims into ``transpose_a`` and ``transpose_b``."""
    for op in graph.walk():
        if op.kind == "matmul":
            for place, flag in enumerate(("transpose_a", "transpose_b")):
                _absorb(graph, op, place, flag)


def _absorb(graph: DnnlGraph, op: DnnlOp, place: int, flag: str) -> None:
    source = graph.made_by(op.inputs[place], "transpose", alone=False)
    if source is None:
        return
    axes = source.attrs["axes"]
    swapped = [*axes[:-2], axes[-1], axes[-2]]
    inputs = list(op.inputs)
    if swapped == sorted(swapped):
        inputs[place] = source.inputs[0]
    elif axes[-1] < axes[-2] and graph.uses(source.out) == 1:
        # The keys of attention, [B, T, H, D] → [B, H, D, T]: leave only what is no swap.
        shape = [graph.shape(source.inputs[0])[a] for a in swapped]
        inputs[place] = graph.emit("transpose", source.inputs, shape, axes=swapped)
    else:
        return
    graph.morph(op, "matmul", inputs, {**op.attrs, flag: not op.attrs[flag]})
