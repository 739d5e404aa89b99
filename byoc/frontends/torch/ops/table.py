"""Every converter of ATen operators: the tables of the families, merged."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.context import Converter
from byoc.frontends.torch.ops.activations import ACTIVATIONS
from byoc.frontends.torch.ops.arithmetic import ARITHMETIC
from byoc.frontends.torch.ops.attention import ATTENTION
from byoc.frontends.torch.ops.creation import CREATION
from byoc.frontends.torch.ops.elementwise import ELEMENTWISE
from byoc.frontends.torch.ops.indexing import INDEXING
from byoc.frontends.torch.ops.logic import LOGIC
from byoc.frontends.torch.ops.norms import NORMS
from byoc.frontends.torch.ops.pools import POOLS
from byoc.frontends.torch.ops.products import PRODUCTS
from byoc.frontends.torch.ops.recurrent import RECURRENT
from byoc.frontends.torch.ops.reductions import REDUCTIONS
from byoc.frontends.torch.ops.resizing import RESIZING
from byoc.frontends.torch.ops.shapes import SHAPES
from byoc.frontends.torch.ops.slicing import SLICING

__all__ = ["OPERATORS"]

OPERATORS: Mapping[str, Converter] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **ATTENTION,
    **CREATION,
    **ELEMENTWISE,
    **INDEXING,
    **LOGIC,
    **NORMS,
    **POOLS,
    **PRODUCTS,
    **RECURRENT,
    **REDUCTIONS,
    **RESIZING,
    **SHAPES,
    **SLICING,
}
"""ATen operator, as "name.overload" → its converter.

A converter takes the arguments of the operator's schema by name, defaults filled in, nodes replaced
by Relax expressions; one that it does not take is refused by Python itself.
"""
