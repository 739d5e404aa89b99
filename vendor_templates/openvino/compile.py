"""Segment → ONNX bytes, behind a header that says which indices the runtime must check.

OpenVINO reads the bytes once here, so that what it refuses is refused when the model is compiled
and not when it is loaded. Of an index outside its axis OpenVINO makes zeros: indices that reach the
segment are checked before it runs, those that it computes are given out as further results and
checked after.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from byoc.errors import CompileError
from byoc.kit.index_checks import index_checks
from byoc.kit.onnx_export import segment_to_onnx
from byoc.segment import Artifact, Segment
from byoc.vendor_templates.openvino.spelling import spelling

__all__ = ["compile_segment"]

_LIMIT = 2**31 - 1  # bytes of one protobuf message


def compile_segment(segment: Segment, options: Any) -> Artifact:
    """Return the segment as an artifact that holds a header and a serialised ONNX model.

    Args:
        segment: The segment.
        options: An `OpenVinoOptions`; `device` and `precision` matter here.

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

    checks = index_checks(segment)
    asked = [check.index for check in checks]
    asked += [check.table for check in checks if check.size is None]
    known = {*segment.inputs, *segment.outputs, *segment.constants}
    more = tuple(value for value in dict.fromkeys(asked) if value not in known)
    told = replace(segment, outputs=(*segment.outputs, *more))
    model = segment_to_onnx(told, own=spelling(segment)).SerializeToString()
    header = {
        "precision": options.precision,
        "inputs": segment.inputs,
        "outputs": told.outputs,
        "constants": {
            value: segment.constants[value].tolist()
            for value in asked
            if value in segment.constants
        },
        "checks": [asdict(check) for check in checks],
    }
    core = openvino.Core()
    if options.device.partition(":")[0] not in {
        d.partition(".")[0] for d in core.available_devices
    }:
        raise CompileError(
            f"segment {segment.name!r}: OpenVINO {openvino.__version__} finds no device "
            f"{options.device!r} on this machine; devices: {', '.join(core.available_devices)}"
        )
    try:
        core.read_model(model)
    except RuntimeError as error:
        raise CompileError(
            f"segment {segment.name!r}: OpenVINO {openvino.__version__} cannot read it: "
            f"{' '.join(str(error).split())[:400]}"
        ) from None
    text = json.dumps(header).encode()
    blob = len(text).to_bytes(8, "little") + text + model
    return Artifact(segment.name, segment.vendor, blob)
