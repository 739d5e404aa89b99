"""Segment → ONNX, for every engine that reads ONNX (OpenVINO, ONNX Runtime, TensorRT, SDKs).

A vendor built on it needs little more than "build" and "run": its patterns are `EXPORTABLE`,
its check is `refusal`, its compile starts with `segment_to_onnx`. An engine that runs all of ONNX
may take opaque nodes too (a pattern on `byoc.kit.foreign_op.OP`); `steps_of` cuts a segment by
opsets then. An engine that needs another spelling of an op gives its own `Export` of it.
"""

from __future__ import annotations

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.kit.onnx_export.exporter import EXPORTABLE, OPSET, refusal, segment_to_onnx
from byoc.kit.onnx_export.foreign import ExportStep, boxed_types, steps_of

__all__ = [
    "EXPORTABLE",
    "OPSET",
    "Export",
    "ExportContext",
    "ExportStep",
    "Unsupported",
    "boxed_types",
    "refusal",
    "segment_to_onnx",
    "steps_of",
]
