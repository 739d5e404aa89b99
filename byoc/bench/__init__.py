"""Measure a compiled model: how fast, and how near to a reference. The CLI is only the skin.

Importing this imports numpy; engines are imported when opened.
"""

from byoc.bench.compare import Comparison, compare
from byoc.bench.difference import Difference, difference
from byoc.bench.engines import (
    ENGINES,
    EXPORTED,
    REFERENCE,
    REFERENCES,
    Engine,
    byoc_engine,
    open_engine,
)
from byoc.bench.timing import BenchResult, Timing, busy_share, measure
from byoc.timing.inputs import onnx_inputs, random_inputs, trivial

__all__ = [
    "ENGINES",
    "EXPORTED",
    "REFERENCE",
    "REFERENCES",
    "BenchResult",
    "Comparison",
    "Difference",
    "Engine",
    "Timing",
    "busy_share",
    "byoc_engine",
    "compare",
    "difference",
    "measure",
    "onnx_inputs",
    "open_engine",
    "random_inputs",
    "trivial",
]
