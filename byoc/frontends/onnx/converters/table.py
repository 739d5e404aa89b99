"""Every converter of ours, by domain and operator; these come before TVM's."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.onnx.converters.casts import CASTS
from byoc.frontends.onnx.converters.constants import CONSTANTS
from byoc.frontends.onnx.converters.elementwise import ELEMENTWISE
from byoc.frontends.onnx.converters.moves import MOVES
from byoc.frontends.onnx.converters.norms import NORMS
from byoc.frontends.onnx.converters.numeric import NUMERIC
from byoc.frontends.onnx.converters.pieces import PIECES
from byoc.frontends.onnx.converters.products import PRODUCTS
from byoc.frontends.onnx.converters.quantised import QUANTISED
from byoc.frontends.onnx.converters.recurrent import RECURRENT
from byoc.frontends.onnx.converters.sampling import SAMPLING
from byoc.frontends.onnx.converters.spectral import SPECTRAL
from byoc.frontends.onnx.converters.tools import Converter
from byoc.frontends.onnx.converters.windows import WINDOWS

__all__ = ["OWN"]

OWN: Mapping[tuple[str, str], Converter] = {
    **CASTS,
    **CONSTANTS,
    **ELEMENTWISE,
    **MOVES,
    **NORMS,
    **NUMERIC,
    **PIECES,
    **PRODUCTS,
    **QUANTISED,
    **RECURRENT,
    **SAMPLING,
    **SPECTRAL,
    **WINDOWS,
}
"""(domain, operator) → converter."""
