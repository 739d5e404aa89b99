"""Run a segment: one compiled model for each segment, one request for each call in flight.

In: the ONNX bytes that `compile_segment` wrote. Out: a function that byoc calls with numpy arrays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from byoc.segment import Array

__all__ = ["init"]


def init(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Compile the model for its device.

    Args:
        blob: The ONNX model.
        constants: Unused: the model holds its weights.
        options: `OpenVinoOptions` as a mapping.

    Returns:
        A function (inputs, outputs) that writes the outputs; several threads may call it at once.
    """
    import openvino

    from byoc.runtime import num_threads

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": options["precision"],
    }
    if options["device"] == "CPU":
        settings["INFERENCE_NUM_THREADS"] = options["threads"] or num_threads()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(blob), options["device"], settings)
    # Not thread-local: the thread state of a native thread lives for one call only.
    idle: deque[Any] = deque()

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        # OpenVINO does not hold on to shared memory: `given` keeps copies alive for the call.
        given = [_owned(array) for array in inputs]
        for index, array in enumerate(given):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        request.infer()
        for index, array in enumerate(outputs):
            np.copyto(array, request.get_output_tensor(index).data.reshape(array.shape))
        idle.append(request)  # one that failed is not used again

    return execute


def _owned(array: Array) -> Array:
    """The array itself where OpenVINO can read it in place, else a copy."""
    usable = array.flags.writeable and array.flags.c_contiguous
    return array if usable else np.array(array)
