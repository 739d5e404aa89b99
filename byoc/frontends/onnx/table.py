"""Every converter of ours, by domain and operator; these come before TVM's."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.onnx.converters import CONVERTERS, Converter
from byoc.frontends.onnx.numeric import NUMERIC
from byoc.frontends.onnx.quantised import QUANTISED
from byoc.frontends.onnx.recurrent import RECURRENT

__all__ = ["OWN"]

OWN: Mapping[tuple[str, str], Converter] = {**CONVERTERS, **NUMERIC, **QUANTISED, **RECURRENT}
"""(domain, operator) → converter."""
