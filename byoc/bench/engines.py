"""Engines that run a whole model, each behind one call, with the same inputs and threads.

In: an engine's name and a model file. Out: a call that takes inputs and gives outputs. An engine
is opened by name; one that is asked for but not installed is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from byoc.errors import OptionError, VendorError, choices
from byoc.segment import Array

__all__ = ["ENGINES", "EXPORTED", "REFERENCE", "REFERENCES", "Engine", "byoc_engine", "open_engine"]

EXPORTED = ".pt2"
"""How files of torch.export.save end."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A model loaded into an engine.

    Attributes:
        name: Of the engine.
        version: Of the engine.
        run: Inputs by name → outputs by name.

    """

    name: str
    version: str
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]]


def _need(module: str, engine: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise VendorError(
            f"engine {engine!r} was asked for but {module!r} cannot be imported ({error}); "
            f"install it with: pip install {install}"
        ) from error


def _onnxruntime(model: Path, threads: int) -> Engine:
    ort = _need("onnxruntime", "onnxruntime", "'tvm-byoc[onnxruntime]'")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return Engine("onnxruntime", ort.__version__, run)


def _openvino(model: Path, threads: int) -> Engine:
    openvino = _need("openvino", "openvino", "'tvm-byoc[openvino]'")
    compiled = openvino.Core().compile_model(
        str(model),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    names = [output.get_any_name() for output in compiled.outputs]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = request.infer(dict(inputs))
        return {name: results[port] for name, port in zip(names, compiled.outputs, strict=True)}

    return Engine("openvino", openvino.__version__, run)


def _torch(model: Path, threads: int) -> Engine:
    """PyTorch, eager. It cannot read ONNX: onnx2torch rewrites the model."""
    torch = _need("torch", "torch", "'tvm-byoc[torch]'")
    if model.suffix == EXPORTED:
        return _torch_program(torch, model, threads)
    onnx2torch = _need("onnx2torch", "torch", "onnx2torch")
    import onnx

    proto = onnx.load(model)
    weights = {init.name for init in proto.graph.initializer}
    inputs_in_order = [i.name for i in proto.graph.input if i.name not in weights]
    names = [output.name for output in proto.graph.output]
    module = onnx2torch.convert(proto).eval()
    torch.set_num_threads(threads)

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.inference_mode():
            results = module(*(torch.from_numpy(inputs[name]) for name in inputs_in_order))
        listed = results if isinstance(results, (tuple, list)) else [results]
        return {name: r.numpy() for name, r in zip(names, listed, strict=True)}

    return Engine("torch", str(torch.__version__), run)


def _torch_program(torch: Any, model: Path, threads: int) -> Engine:
    """A program of torch.export, run op by op; its outputs are called by their numbers."""
    program = torch.export.load(model)
    inputs_in_order = list(program.graph_signature.user_inputs)
    module = program.module()
    torch.set_num_threads(threads)

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [torch.from_numpy(inputs[name]) for name in inputs_in_order]
        args, kwargs = torch.utils._pytree.tree_unflatten(tensors, program.call_spec.in_spec)
        with torch.inference_mode():
            results = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
        return {str(n): result.numpy() for n, result in enumerate(results)}

    return Engine("torch", str(torch.__version__), run)


ENGINES: Mapping[str, Callable[[Path, int], Engine]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}
"""Engines to measure against, by name."""

REFERENCE = "onnxruntime"
"""The engine whose numbers are taken as right, of an ONNX file."""

REFERENCES: Mapping[str, str] = {"onnx": REFERENCE, "torch": "torch"}
"""Format of a model file → the engine whose numbers are taken as right, where there is one."""


def open_engine(name: str, model: Path, threads: int) -> Engine:
    """Load a model file into an engine.

    Args:
        name: One of `ENGINES`.
        model: An ONNX file; of torch.export for "torch".
        threads: CPU threads that it may use.

    Raises:
        OptionError: There is no engine of that name.
        VendorError: It is not installed, or refuses the model.

    """
    if name not in ENGINES:
        raise OptionError(f"unknown engine {name!r}: {choices(name, ENGINES)}")
    try:
        return ENGINES[name](model, threads)
    except VendorError:
        raise
    except Exception as error:  # every engine has its own classes
        raise VendorError(
            f"engine {name!r} cannot load {model}: {type(error).__name__}: {error}"
        ) from error


def byoc_engine(executable: Any, name: str = "byoc") -> Engine:
    """Return a `byoc.Executable` as an engine, called `name` in reports."""
    from importlib.metadata import version

    return Engine(name, version("tvm-byoc"), executable.run)
