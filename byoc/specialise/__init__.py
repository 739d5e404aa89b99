"""Models with symbolic dimensions at the speed of static ones: a plan per shape, kept by use.

    call ─▶ sizes of the dims ─▶ a plan for them? ──yes──▶ its session                  (hit)
                                       └──no──▶ the VM                                  (miss)
                                                 └─ seen `after` times: build one meanwhile

A plan is the whole model with its dimensions filled in: partitioned, compiled and planned like a
static one, over the same weights. At most `limit` are kept, those used last. A call may also be
padded up to a size that was named in `buckets`; the first padded answer of every plan is compared
with the VM's, and padding is given up for good where they differ.
"""

from __future__ import annotations

from byoc.specialise.options import (
    PlanUse,
    Specialisations,
    Specialise,
    check_options,
    symbolic_dims,
)
from byoc.specialise.shapes import Shapes, saved_shapes

__all__ = [
    "PlanUse",
    "Shapes",
    "Specialisations",
    "Specialise",
    "check_options",
    "saved_shapes",
    "symbolic_dims",
]
