"""Segment → ONNX bytes: one model, or several steps where opaque nodes need another opset.

The blob is a header (JSON, its length before it) and the models behind it; `runtime.init` reads it.
"""

from __future__ import annotations

import json
from typing import Any

from byoc.errors import CompileError
from byoc.kit.foreign_op import OP
from byoc.kit.onnx_export import OPSET, ExportStep, boxed_types, segment_to_onnx, steps_of
from byoc.segment import Artifact, Segment
from byoc.vendor_templates.onnxruntime.patterns import SPELLING

__all__ = ["compile_segment"]

_LIMIT = 2**31 - 1  # bytes of one protobuf message


def compile_segment(segment: Segment) -> Artifact:
    """Return the segment as an artifact that holds a header and serialised ONNX models.

    Args:
        segment: The segment; its opaque nodes are shown to ONNX Runtime here for the first time.

    Raises:
        CompileError: There are 2 GiB of weights or more, or ONNX Runtime has no kernel for a node.
    """
    weights = sum(array.nbytes for array in segment.constants.values())
    if weights >= _LIMIT:
        raise CompileError(
            f"segment {segment.name!r}: {weights / 2**30:.1f} GiB of weights do not fit into one "
            f"ONNX message (2 GiB); use another vendor for it, or smaller segments"
        )
    steps = steps_of(segment, OPSET)
    models = [segment_to_onnx(s.segment, s.opset, SPELLING).SerializeToString() for s in steps]
    for step, model in zip(steps, models, strict=True):
        _check(step, model)
    boxed = boxed_types(segment)
    header: dict[str, Any] = {
        "inputs": segment.inputs,
        "outputs": segment.outputs,
        "boxed": sorted(boxed),
        "steps": [
            {
                "bytes": len(model),
                "inputs": step.segment.inputs,
                "outputs": step.segment.outputs,
                "boxed": sorted(boxed.keys() & {*step.segment.inputs, *step.segment.outputs}),
            }
            for step, model in zip(steps, models, strict=True)
        ],
    }
    text = json.dumps(header).encode()
    blob = len(text).to_bytes(8, "little") + text + b"".join(models)
    opaque = sum(node.op == OP for node in segment.nodes)
    notes = [f"{opaque} of {len(segment.nodes)} nodes kept as ONNX"] if opaque else []
    if len(steps) > 1:
        notes.append(f"{len(steps)} sessions, one after the other: their opsets differ")
    return Artifact(segment.name, segment.vendor, blob, notes=tuple(notes))


def _check(step: ExportStep, model: bytes) -> None:
    """Opaque nodes were checked by nobody yet: let ONNX Runtime look at them now."""
    opaque = [node for node in step.segment.nodes if node.op == OP]
    if not opaque:
        return
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base of their own
        nodes = ", ".join(f"{n.attrs['node']!r} ({n.attrs['op']})" for n in opaque[:3])
        raise CompileError(
            f"segment {step.segment.name!r}: ONNX Runtime {ort.__version__} does not take the "
            f"opaque node {nodes}: {' '.join(str(error).split())[:400]}. It is opaque because "
            f"{opaque[0].attrs['reason']}"
        ) from None
