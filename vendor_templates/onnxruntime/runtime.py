"""Run a segment: one ONNX Runtime session for each step, results written where byoc wants them.

In: the blob that `compile_segment` wrote. Out: a function that byoc calls with numpy arrays.
Tensors are bound in place (no copies). A value that is no tensor (a sequence, an optional) reaches
the segment as a handle, see `byoc.runtime.value_handles`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from byoc.runtime.value_handles import put_value, value_of
from byoc.segment import Array

__all__ = ["init"]


def init(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Build the sessions.

    Args:
        blob: 8 bytes, length of the header; a JSON header with the value ids that the segment and
            each step reads and writes, and which are no tensors; the models of the steps.
        constants: Unused: the models hold their weights.
        options: `OnnxRuntimeOptions` as a mapping.

    Returns:
        A function (inputs, outputs) that writes the outputs; several threads may call it at once.
    """
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + size])
    sessions, at = [], 8 + size
    for step in header["steps"]:
        sessions.append(_session(blob[at : at + step["bytes"]], options))
        at += step["bytes"]
    steps = list(zip(sessions, header["steps"], strict=True))
    handles = frozenset(header["boxed"])
    run = _run_values if handles else _run

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        values: dict[int, Any] = {
            v: value_of(array) if v in handles else array
            for v, array in zip(header["inputs"], inputs, strict=True)
        }
        wanted = dict(zip(header["outputs"], outputs, strict=True))
        for session, step in steps:
            run(session, step, values, wanted)
        for value in handles & wanted.keys():
            put_value(wanted[value], values[value])

    return execute


def _session(model: bytes, options: Mapping[str, Any]) -> Any:
    import onnxruntime as ort

    from byoc.runtime import num_threads

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options["threads"] or num_threads()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    spin = "1" if options["spin"] else "0"
    settings.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def _run(
    session: Any, step: Mapping[str, Any], values: dict[int, Any], wanted: Mapping[int, Array]
) -> None:
    """Run one step over tensors. values: id → array, results for later steps are added; wanted:
    where results of the segment go.
    """
    binding = session.io_binding()
    for index, value in enumerate(step["inputs"]):
        array = values[value]
        binding.bind_input(
            f"i{index}", "cpu", 0, _element(array.dtype), array.shape, array.ctypes.data
        )
    inner = []
    for index, value in enumerate(step["outputs"]):
        array = wanted.get(value)
        if array is None:
            inner.append((index, value))
            binding.bind_output(f"o{index}", "cpu")
        else:
            binding.bind_output(
                f"o{index}", "cpu", 0, _element(array.dtype), array.shape, array.ctypes.data
            )
            values[value] = array
    session.run_with_iobinding(binding)
    if inner:
        results = binding.get_outputs()
        for index, value in inner:
            values[value] = _plain(results[index])


def _run_values(
    session: Any, step: Mapping[str, Any], values: dict[int, Any], wanted: Mapping[int, Array]
) -> None:
    """Run one step of a segment that reads or makes values which are no tensors; these cannot be
    bound, so results are copied.
    """
    feeds = {f"i{i}": _feed(values[v]) for i, v in enumerate(step["inputs"])}
    handles = set(step["boxed"])
    for value, result in zip(step["outputs"], session.run(None, feeds), strict=True):
        if value in wanted and value not in handles:
            output = wanted[value]
            output[...] = result.view(output.dtype) if result.dtype != output.dtype else result
            result = output
        values[value] = result


def _feed(value: Any) -> Any:
    """A value as `session.run` takes it: arrays of dtypes that numpy lacks need telling."""
    if isinstance(value, np.ndarray) and value.dtype.isbuiltin != 1:
        import onnxruntime as ort

        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value, _element(value.dtype))
    return value


def _plain(value: Any) -> Array:
    """An OrtValue as an array; dtypes that numpy lacks keep their bits."""
    array = value.numpy()
    return np.ascontiguousarray(array).reshape(array.shape)


def _element(dtype: np.dtype[Any]) -> Any:
    """What ONNX Runtime calls a dtype: numpy's own, or ONNX's number for one numpy lacks."""
    if dtype.isbuiltin == 1:
        return dtype.type
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype)
