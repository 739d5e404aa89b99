"""Run a segment: one compiled model for each segment, one request for each call in flight.

A model that this machine has compiled before comes from byoc's cache of engines.

In: the bytes that `compile_segment` wrote. Out: a function that byoc calls with numpy arrays.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.kit.index_checks import IndexCheck, check_index
from byoc.segment import Array
from byoc.vendor import SegmentContext

__all__ = ["init"]

_INPUT = re.compile(r"i\d+")
"""What the exporter calls the inputs of a segment."""


def init(
    blob: memoryview,
    constants: Sequence[Array],
    options: Mapping[str, Any],
    *,
    context: SegmentContext,
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Compile the model for its device.

    Args:
        blob: 8 bytes, length of the header; the header, which says what is checked; the ONNX model.
        constants: Unused: the model holds its weights.
        options: `OpenVinoOptions` as a mapping.
        context: Where compiled models are kept.

    Returns:
        A function (inputs, outputs) that writes the outputs; several threads may call it at once.
    """
    import openvino

    from byoc.runtime import num_threads

    size = int.from_bytes(blob[:8], "little")
    header = json.loads(bytes(blob[8 : 8 + size]))
    checks = _Checks(header)
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # The segment's own: others of the model may compute in another. Older files lack it.
        "INFERENCE_PRECISION_HINT": header.get("precision", options["precision"]),
    }
    if options["device"] == "CPU":
        settings["INFERENCE_NUM_THREADS"] = options["threads"] or num_threads()
    core, device = openvino.Core(), options["device"]

    def build() -> _Engine:
        model = core.read_model(bytes(blob[8 + size :]))
        return _Engine(core.compile_model(model, device, settings))

    def save(engine: _Engine) -> memoryview:
        written: memoryview = engine.compiled.export_model().getbuffer()
        return written

    def load(data: memoryview) -> _Engine:
        # Only read, and held: OpenVINO goes on using weights where they lie.
        bytes_ = np.frombuffer(data, np.uint8)
        return _Engine(core.import_model(_shared(bytes_), device, settings), bytes_)

    engine = context.engine([*_versions(core, device), repr(settings)], build, save, load)
    compiled = engine.compiled
    # It drops inputs that no op reads, which segments take for sizes; the names are the exporter's.
    taken = [_number(port.get_names()) for port in compiled.inputs]
    # Not thread-local: the thread state of a native thread lives for one call only.
    idle: deque[Any] = deque()

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for check, array, length in checks.before(inputs):
            check_index(check, array, length)
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        # OpenVINO does not hold on to shared memory: `given` keeps copies alive for the call.
        given = [_owned(inputs[number]) for number in taken]
        for index, array in enumerate(given):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        request.infer()
        for check, array, length in checks.after(inputs, request):
            check_index(check, array, length)
        for index, array in enumerate(outputs):
            np.copyto(array, request.get_output_tensor(index).data.reshape(array.shape))
        idle.append(request)  # one that failed is not used again

    execute.engine = engine  # type: ignore[attr-defined]
    return execute


@dataclass(frozen=True)
class _Engine:
    compiled: Any
    data: Array | None = None  # what it was read from


def _versions(core: Any, device: str) -> list[str]:
    """What a compiled model depends on: OpenVINO, its plugins, and the chip."""
    import openvino

    plugins = core.get_versions(device)
    builds = [f"{name} {found.build_number}" for name, found in sorted(plugins.items())]
    return [openvino.__version__, *builds, str(core.get_property(device, "FULL_DEVICE_NAME"))]


def _shared(array: Array) -> Any:
    """An array that may be read-only as a tensor over the same memory."""
    import openvino

    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.__array_interface__["data"][0])
    return openvino.Tensor(np.ctypeslib.as_array(memory), shared_memory=True)


class _Checks:
    """Which indices are looked at before a call, and which after it, and where they are.

    Args:
        header: Value ids of inputs and outputs, numbers of constant indices, and the checks.

    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._inputs = {value: k for k, value in enumerate(header["inputs"])}
        self._outputs = {value: k for k, value in reversed([*enumerate(header["outputs"])])}
        self._constants = {int(k): np.array(v) for k, v in header["constants"].items()}
        self._before: list[IndexCheck] = []
        self._after: list[IndexCheck] = []
        given = {*self._inputs, *self._constants}
        for fields in header["checks"]:
            check = IndexCheck(**fields)
            early = check.index in given and (check.size is not None or check.table in given)
            (self._before if early else self._after).append(check)

    def before(self, inputs: Sequence[Array]) -> Iterator[tuple[IndexCheck, Array, int]]:
        """What can be checked by the inputs alone: (check, indices, length of the axis)."""
        for check in self._before:
            yield self._resolved(check, inputs, None)

    def after(
        self, inputs: Sequence[Array], request: Any
    ) -> Iterator[tuple[IndexCheck, Array, int]]:
        """What takes results of the request."""
        for check in self._after:
            yield self._resolved(check, inputs, request)

    def _resolved(
        self, check: IndexCheck, inputs: Sequence[Array], request: Any
    ) -> tuple[IndexCheck, Array, int]:
        def array(value: int) -> Array:
            if value in self._inputs:
                return inputs[self._inputs[value]]
            if value in self._constants:
                return self._constants[value]
            found: Array = request.get_output_tensor(self._outputs[value]).data
            return found

        size = array(check.table).shape[check.axis] if check.size is None else check.size
        return check, array(check.index), size


def _number(names: Iterable[str]) -> int:
    """The input that a tensor is; what OpenVINO took for a copy of it adds a name of its own."""
    return next(int(name[1:]) for name in names if _INPUT.fullmatch(name))


def _owned(array: Array) -> Array:
    """The array itself where OpenVINO can read it in place, else a copy."""
    usable = array.flags.writeable and array.flags.c_contiguous
    return array if usable else np.array(array)
