"""One ONNX Runtime session per segment; its outputs are written where byoc wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byoc.segment import Array

__all__ = ["init"]


def init(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Build the session; it may be run from several threads at once."""
    import onnxruntime as ort

    from byoc.runtime import num_threads

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options["threads"] or num_threads()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    spin = "1" if options["spin"] else "0"
    settings.add_session_config_entry("session.intra_op.allow_spinning", spin)
    session = ort.InferenceSession(blob, settings, providers=["CPUExecutionProvider"])
    input_names = [port.name for port in session.get_inputs()]
    output_names = [port.name for port in session.get_outputs()]

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        binding = session.io_binding()
        for name, array in zip(input_names, inputs, strict=True):
            binding.bind_cpu_input(name, array)
        for name, array in zip(output_names, outputs, strict=True):
            binding.bind_output(
                name,
                device_type="cpu",
                element_type=array.dtype,
                shape=array.shape,
                buffer_ptr=array.ctypes.data,
            )
        session.run_with_iobinding(binding)

    return execute
