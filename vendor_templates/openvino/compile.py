"""Segment → ONNX bytes.

OpenVINO reads the bytes once here, so that what it refuses is refused when the model is compiled
and not when it is loaded.
"""

from __future__ import annotations

from typing import Any

from byoc.errors import CompileError
from byoc.kit.onnx_export import segment_to_onnx
from byoc.segment import Artifact, Segment

__all__ = ["compile_segment"]

_LIMIT = 2**31 - 1  # bytes of one protobuf message


def compile_segment(segment: Segment, options: Any) -> Artifact:
    """Return the segment as an artifact that holds one serialised ONNX model.

    Args:
        segment: The segment.
        options: An `OpenVinoOptions`; only `device` matters here.

    Raises:
        CompileError: There are 2 GiB of weights or more, OpenVINO cannot read the model (its own
            words are in the message), or this machine has no such device.
    """
    weights = sum(array.nbytes for array in segment.constants.values())
    if weights >= _LIMIT:
        raise CompileError(
            f"segment {segment.name!r}: {weights / 2**30:.1f} GiB of weights do not fit into one "
            f"ONNX message (2 GiB); use another vendor for it, or smaller segments"
        )
    import openvino

    blob = segment_to_onnx(segment).SerializeToString()
    core = openvino.Core()
    if options.device.partition(":")[0] not in {
        d.partition(".")[0] for d in core.available_devices
    }:
        raise CompileError(
            f"segment {segment.name!r}: OpenVINO {openvino.__version__} finds no device "
            f"{options.device!r} on this machine; devices: {', '.join(core.available_devices)}"
        )
    try:
        core.read_model(blob)
    except RuntimeError as error:
        raise CompileError(
            f"segment {segment.name!r}: OpenVINO {openvino.__version__} cannot read it: "
            f"{' '.join(str(error).split())[:400]}"
        ) from None
    return Artifact(segment.name, segment.vendor, blob)
