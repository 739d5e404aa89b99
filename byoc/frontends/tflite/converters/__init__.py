"""Operator → converter (`byoc.frontends.tflite.call.Converter`), by family."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.tflite.call import Converter
from byoc.frontends.tflite.converters import (
    elementwise,
    images,
    indexing,
    int16,
    moves,
    products,
    reductions,
)
from byoc.frontends.tflite.stock import STOCK

__all__ = ["CONVERTERS", "REFUSED"]

_REAL: Mapping[str, Converter] = {
    **STOCK,
    **elementwise.CONVERTERS,
    **images.CONVERTERS,
    **indexing.CONVERTERS,
    **moves.CONVERTERS,
    **products.CONVERTERS,
    **reductions.CONVERTERS,
}
CONVERTERS: Mapping[str, Converter] = {
    **_REAL,
    **{name: int16.either(wide, _REAL[name]) for name, wide in int16.CONVERTERS.items()},
}

_STATE = "it keeps a state between runs, a compiled model has none"
_DATA = "the shape of its result depends on data"
_GRAPHS = "it calls another subgraph"
_RANDOM = "its result is random"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("ASSIGN_VARIABLE", "READ_VARIABLE", "VAR_HANDLE", "SVDF", "LSTM", "RNN"), _STATE
    ),
    **dict.fromkeys(
        (
            "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
            "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
        ),
        _STATE,
    ),
    **dict.fromkeys(("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"), _DATA),
    **dict.fromkeys(("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_WHILE"), _GRAPHS),
    **dict.fromkeys(("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"), _RANDOM),
}  # fmt: skip
"""Operator → why there is none."""
