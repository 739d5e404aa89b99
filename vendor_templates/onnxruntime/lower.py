"""Segment → ONNX bytes."""

from __future__ import annotations

from byoc.errors import CompileError
from byoc.interchange import segment_to_onnx
from byoc.segment import Artifact, Segment

__all__ = ["compile_segment"]

_LIMIT = 2**31 - 1  # bytes of one protobuf message


def compile_segment(segment: Segment) -> Artifact:
    """The segment as a serialised ONNX model. Raises CompileError past 2 GiB of weights."""
    weights = sum(array.nbytes for array in segment.constants.values())
    if weights >= _LIMIT:
        raise CompileError(
            f"segment {segment.name!r}: {weights / 2**30:.1f} GiB of weights do not fit into one "
            f"ONNX message (2 GiB); use another vendor for it, or smaller segments"
        )
    return Artifact(segment.name, segment.vendor, segment_to_onnx(segment).SerializeToString())
