"""Operator → converter of TFLite, from the tables of the families."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.context import Converter
from byoc.frontends.tflite.ops.data_movement import DATA_MOVEMENT
from byoc.frontends.tflite.ops.elementwise import ELEMENTWISE
from byoc.frontends.tflite.ops.images import IMAGES
from byoc.frontends.tflite.ops.indexing import INDEXING
from byoc.frontends.tflite.ops.int16 import INT16, either
from byoc.frontends.tflite.ops.products import PRODUCTS
from byoc.frontends.tflite.ops.reductions import REDUCTIONS
from byoc.frontends.tflite.ops.stock import STOCK

__all__ = ["OPERATORS", "REFUSED"]

_REAL: Mapping[str, Converter] = {
    **STOCK,
    **DATA_MOVEMENT,
    **ELEMENTWISE,
    **IMAGES,
    **INDEXING,
    **PRODUCTS,
    **REDUCTIONS,
}
OPERATORS: Mapping[str, Converter] = {
    **_REAL,
    **{name: either(exact, _REAL[name]) for name, exact in INT16.items()},
}
"""Operator → converter; int16 activations are computed in integers where there is a way."""

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
