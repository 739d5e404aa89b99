"""Rewrites of the graph, in the order they run.

A pass changes a graph in place and keeps what it computes. It knows kinds of program.md, not Relax
ops; README.md shows an example of each.
"""

from __future__ import annotations

from collections.abc import Callable

from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.passes.attention import fuse_attention
from byoc.vendor_templates.dnnl.passes.idioms import recognise_idioms
from byoc.vendor_templates.dnnl.passes.layout import sink_transposes
from byoc.vendor_templates.dnnl.passes.matmul import absorb_transposes
from byoc.vendor_templates.dnnl.passes.narrow import narrow
from byoc.vendor_templates.dnnl.passes.post_ops import fuse_post_ops
from byoc.vendor_templates.dnnl.passes.quantised import (
    fold_dequantized,
    store_integers,
    take_integers,
)
from byoc.vendor_templates.dnnl.passes.simplify import (
    fold_constants,
    restore_divisions,
    simplify,
)
from byoc.vendor_templates.dnnl.passes.weights import fold_into_weights

__all__ = ["ALWAYS", "PASSES", "narrow"]

PASSES: tuple[Callable[[DnnlGraph], None], ...] = (
    simplify,
    sink_transposes,
    simplify,
    absorb_transposes,  # before constants are folded: weights keep the model's memory
    fuse_attention,
    simplify,
    recognise_idioms,
    simplify,
    restore_divisions,
    take_integers,
    fold_dequantized,
    fold_constants,
    fold_into_weights,
    fuse_post_ops,
    store_integers,
    simplify,
    restore_divisions,
)

ALWAYS: tuple[Callable[[DnnlGraph], None], ...] = (fold_dequantized,)
"""What a program cannot do without, also when nothing is fused."""
