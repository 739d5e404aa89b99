"""Every converter of ours, by domain and operator; these come before TVM's."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.context import Converter
from byoc.frontends.onnx.ops.casts import CASTS
from byoc.frontends.onnx.ops.constants import CONSTANTS
from byoc.frontends.onnx.ops.contrib.attention import ATTENTION
from byoc.frontends.onnx.ops.contrib.blocks import BLOCKS
from byoc.frontends.onnx.ops.contrib.fused import FUSED
from byoc.frontends.onnx.ops.contrib.grouped_attention import GROUPED_ATTENTION
from byoc.frontends.onnx.ops.contrib.qoperator import QOPERATOR
from byoc.frontends.onnx.ops.contrib.rotary import ROTARY
from byoc.frontends.onnx.ops.data_movement import DATA_MOVEMENT
from byoc.frontends.onnx.ops.determinants import DETERMINANTS
from byoc.frontends.onnx.ops.elementwise import ELEMENTWISE
from byoc.frontends.onnx.ops.features import FEATURES
from byoc.frontends.onnx.ops.images.sampling import SAMPLING
from byoc.frontends.onnx.ops.norms import NORMS
from byoc.frontends.onnx.ops.numeric import NUMERIC
from byoc.frontends.onnx.ops.padding import PADDING
from byoc.frontends.onnx.ops.products import PRODUCTS
from byoc.frontends.onnx.ops.quantised import QUANTISED
from byoc.frontends.onnx.ops.recurrent import RECURRENT
from byoc.frontends.onnx.ops.reductions import REDUCTIONS
from byoc.frontends.onnx.ops.reversing import REVERSING
from byoc.frontends.onnx.ops.slicing import SLICING
from byoc.frontends.onnx.ops.spectral import SPECTRAL
from byoc.frontends.onnx.ops.split import SPLIT
from byoc.frontends.onnx.ops.vision.boxes import BOXES
from byoc.frontends.onnx.ops.vision.deformed import DEFORMED
from byoc.frontends.onnx.ops.vision.unpooling import UNPOOLING
from byoc.frontends.onnx.ops.windows import WINDOWS

__all__ = ["OPERATORS"]

OPERATORS: Mapping[tuple[str, str], Converter] = {
    **ATTENTION,
    **BLOCKS,
    **BOXES,
    **CASTS,
    **CONSTANTS,
    **ELEMENTWISE,
    **DATA_MOVEMENT,
    **DEFORMED,
    **DETERMINANTS,
    **FEATURES,
    **FUSED,
    **GROUPED_ATTENTION,
    **NORMS,
    **NUMERIC,
    **SLICING,
    **SPLIT,
    **PADDING,
    **PRODUCTS,
    **QOPERATOR,
    **QUANTISED,
    **RECURRENT,
    **REDUCTIONS,
    **REVERSING,
    **ROTARY,
    **SAMPLING,
    **SPECTRAL,
    **UNPOOLING,
    **WINDOWS,
}
"""(domain, operator) → converter."""
