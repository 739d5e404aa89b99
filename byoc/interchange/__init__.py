"""Segment → ONNX, for every engine that reads ONNX (OpenVINO, ONNX Runtime, TensorRT, SDKs).

A vendor built on it needs little more than "build" and "run": its patterns are `EXPORTABLE`,
its check is `refusal`, its compile starts with `segment_to_onnx`.
"""

from __future__ import annotations

from byoc.interchange.exporter import EXPORTABLE, OPSET, refusal, segment_to_onnx

__all__ = ["EXPORTABLE", "OPSET", "refusal", "segment_to_onnx"]
