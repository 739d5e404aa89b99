"""Rewrites of the graph, in the order they run."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph
from .attention import fuse_attention
from .idioms import recognise_idioms
from .layout import sink_transposes
from .matmul import absorb_transposes
from .posts import fuse_posts
from .quantised import fold_dequantized, store_integers, take_integers
from .simplify import fold_constants, simplify
from .weights import fold_into_weights

__all__ = ["ALWAYS", "PASSES"]

PASSES: tuple[Callable[[Graph], None], ...] = (
    simplify,
    sink_transposes,
    simplify,
    absorb_transposes,  # before constants are folded: weights keep the model's memory
    fuse_attention,
    simplify,
    recognise_idioms,
    simplify,
    take_integers,
    fold_dequantized,
    fold_constants,
    fold_into_weights,
    fuse_posts,
    store_integers,
    simplify,
)

ALWAYS: tuple[Callable[[Graph], None], ...] = (fold_dequantized,)
"""What a program cannot do without, also when nothing is fused."""
