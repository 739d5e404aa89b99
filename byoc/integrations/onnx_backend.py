"""The ONNX backend API, so that tools which speak it, onnx's own test suite first, run on byoc.

    import byoc.integrations.onnx_backend as backend
    prepared = backend.prepare(model)                    # everything on the host
    prepared = backend.prepare(model, vendors=["dnnl", "onnxruntime"])
    outputs = prepared.run(inputs)

Source: https://onnx.ai/onnx/api/backend.html. A model that byoc does not run raises the error that
`byoc.compile` raises; nothing is reported as skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from byoc.compiler import compile as compile_model
from byoc.errors import CompileError, InputError, ModelError
from byoc.executable import Executable
from byoc.frontends.onnx.specialise import deciding_inputs, with_constants
from byoc.plugins.discovery import VendorSpec

__all__ = [
    "ByocBackend",
    "PreparedModel",
    "backend_for",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]


class PreparedModel(BackendRep):  # type: ignore[misc]
    """A compiled model behind ONNX's backend API.

    Where values of inputs must be known to compile (the axes of a reduction fed at run time), it
    is compiled when they are, once for each set of values.

    Args:
        model: what to compile.
        vendors: as for `byoc.compile`.

    Attributes:
        MAX_KEPT: sets of values whose models are kept.
    """

    MAX_KEPT: ClassVar[int] = 16

    def __init__(self, model: onnx.ModelProto, vendors: VendorSpec) -> None:
        self._model = model
        self._vendors = vendors
        self._kept: dict[tuple[bytes, ...], Executable] = {}
        stored = {t.name for t in model.graph.initializer}
        self._names = [i.name for i in model.graph.input if i.name not in stored]
        self._deciding: tuple[str, ...] = ()
        if deciding_inputs(model, only_exact=True):
            self._deciding = deciding_inputs(model)
            return
        try:
            self._kept[()] = compile_model(model, vendors)
        except (ModelError, CompileError):
            self._deciding = deciding_inputs(model)
            if not self._deciding:
                raise

    @property
    def executable(self) -> Executable | None:
        """What `byoc.compile` returned, with its report; None before values were seen."""
        return next(reversed(self._kept.values()), None)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run once.

        Args:
            inputs: arrays in the order of the model's inputs, or by name, or one array.
            kwargs: taken for the API's sake, not used.

        Returns:
            A named tuple of arrays, in the order of the outputs.

        Raises:
            InputError: an input is missing or does not fit.
            ExecutionError: a task fails.
            ModelError: as `prepare`, where values were needed to compile.
        """
        given = dict(inputs) if isinstance(inputs, Mapping) else self._by_name(inputs)
        missing = [name for name in self._deciding if name not in given]
        if missing:
            raise InputError(f"input {', '.join(map(repr, missing))} is missing")
        values = {name: np.asarray(given.pop(name)) for name in self._deciding}
        executable = self._compiled(values)
        results = executable.run(given)
        outputs = [port.name for port in executable.outputs]
        named: tuple[Any, ...] = namedtupledict("Outputs", outputs)(*(results[n] for n in outputs))
        return named

    def _compiled(self, values: Mapping[str, np.ndarray[Any, Any]]) -> Executable:
        key = tuple(f"{a.dtype}{a.shape}".encode() + a.tobytes() for a in values.values())
        found = self._kept.get(key)
        if found is None:
            found = compile_model(with_constants(self._model, values), self._vendors)
            if len(self._kept) >= self.MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = found
        return found

    def _by_name(self, inputs: Any) -> dict[str, Any]:
        values = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(values) != len(self._names):
            raise InputError(
                f"the model takes {len(self._names)} inputs ({', '.join(self._names)}), "
                f"found {len(values)}"
            )
        return dict(zip(self._names, values, strict=True))


class ByocBackend(Backend):  # type: ignore[misc]
    """byoc behind ONNX's backend API.

    Attributes:
        vendors: used when a call names none (see `backend_for`).
    """

    vendors: ClassVar[VendorSpec] = ()

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        vendors: VendorSpec | None = None,
        **kwargs: Any,
    ) -> PreparedModel:
        """Compile a model.

        Args:
            model: what to compile.
            device: "CPU"; what runs where is said by `vendors`.
            vendors: as for `byoc.compile`; None: the class's.
            kwargs: taken for the API's sake, not used.

        Returns:
            The model, ready to be run.

        Raises:
            ModelError: the model cannot be read, or the device is not the CPU.
            VendorError: a vendor is unknown or not usable.
            CompileError: a vendor or the host cannot compile its part.
        """
        if not cls.supports_device(device):
            raise ModelError(f"device {device!r} is not served; legal: CPU")
        return PreparedModel(model, cls.vendors if vendors is None else vendors)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Compile a model and run it once.

        Args:
            model: what to compile.
            inputs: as for `PreparedModel.run`.
            device: "CPU".
            kwargs: as for `prepare`.

        Returns:
            A named tuple of arrays, in the order of the outputs.

        Raises:
            ByocError: as `prepare` and `PreparedModel.run`.
        """
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        opset_version: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node of the newest opset (or of `opset_version`) on arrays.

        Args:
            node: the node.
            inputs: one array per input of the node that is not absent, in order.
            device: "CPU".
            outputs_info: numpy dtype and shape of each output; inferred when not given.
            opset_version: of the node's operator set.
            kwargs: as for `prepare`.

        Returns:
            A named tuple of arrays, in the order of the outputs.

        Raises:
            ModelError: the types of the outputs cannot be told; else as `prepare`.
        """
        arrays = [
            np.asarray(a) for a in (inputs.values() if isinstance(inputs, Mapping) else inputs)
        ]
        model = _model_of(node, arrays, outputs_info, opset_version)
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Say that a model may be tried: whether it runs is told by `prepare`, with the reason.

        Args:
            model: any model.
            device: any device.
            kwargs: taken for the API's sake, not used.

        Returns:
            True.
        """
        return True

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Say whether a device is served: what runs where is said by `vendors`, not by the device.

        Args:
            device: as ONNX spells it ("CPU", "CUDA:1").

        Returns:
            True for "CPU".
        """
        return str(device).split(":")[0] == "CPU"


def backend_for(vendors: VendorSpec) -> type[ByocBackend]:
    """Make a backend that compiles for these vendors, for tools that cannot pass options.

    Args:
        vendors: as for `byoc.compile`.

    Returns:
        A class for such a tool.
    """
    return type("ByocBackendForVendors", (ByocBackend,), {"vendors": vendors})


def _model_of(
    node: onnx.NodeProto,
    arrays: Sequence[np.ndarray[Any, Any]],
    outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None,
    opset_version: int | None,
) -> onnx.ModelProto:
    names = [n for n in node.input if n]
    if len(names) != len(arrays):
        raise ModelError(
            f"node {node.name or node.op_type!r} reads {len(names)} values, found {len(arrays)}"
        )
    ports = [_port(n, a.dtype, a.shape) for n, a in zip(names, arrays, strict=True)]
    outputs = [n for n in node.output if n]
    if outputs_info is None:
        results = [onnx.ValueInfoProto(name=n) for n in outputs]
    else:
        results = [_port(n, d, s) for n, (d, s) in zip(outputs, outputs_info, strict=True)]
    version = onnx.defs.onnx_opset_version() if opset_version is None else opset_version
    opsets = [helper.make_opsetid("", version)]
    if node.domain:
        opsets.append(helper.make_opsetid(node.domain, 1))
    graph = helper.make_graph([node], node.name or node.op_type, ports, results)
    model = helper.make_model(graph, opset_imports=opsets)
    if outputs_info is None:
        try:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:
            raise ModelError(
                f"node {node.name or node.op_type!r}: its outputs cannot be inferred ({error}); "
                f"give outputs_info"
            ) from None
    return model


def _port(name: str, dtype: Any, shape: Sequence[int]) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, list(shape))


prepare = ByocBackend.prepare
run_model = ByocBackend.run_model
run_node = ByocBackend.run_node
supports_device = ByocBackend.supports_device
is_compatible = ByocBackend.is_compatible
