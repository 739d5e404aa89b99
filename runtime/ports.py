"""Checks what callers give to a model: names, counts, shapes, dtypes; nothing is cast silently.

In: arrays, or anything that speaks DLPack, by name or in order. Out: dense arrays in the order of
the ports, or an `InputError` that says what was expected and found. Symbolic dimensions are bound
by what the first inputs show and checked against the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byoc.dims import Dim, is_name, names, size_of
from byoc.errors import InputError, choices
from byoc.runtime.native import function
from byoc.runtime.value_handles import handle_of, take_values
from byoc.segment import Array, PortType
from byoc.support.dtypes import numpy_dtype

__all__ = ["Inputs"]

_CPU_DEVICES = (1, 3)  # DLPack: kDLCPU, kDLCUDAHost


class _Port:
    """One port, with what every call needs worked out."""

    def __init__(self, port: PortType, kind: str) -> None:
        self.name = port.name
        self.what = f"{kind} {port.name!r}"
        self.shape = port.type.shape
        self.static = port.type.is_static
        self.dtype = numpy_dtype(port.type.dtype)
        self.value = port.value

    def check_dtype(self, array: Array) -> None:
        if array.dtype != self.dtype:
            raise InputError(
                f"{self.what} has dtype {_dtype_name(array.dtype)}, expected {self.dtype.name}; "
                f"nothing is cast silently: convert it with .astype({self.dtype.name!r})"
            )

    def check_shape(self, array: Array, env: dict[str, tuple[int, str]]) -> None:
        """Check the shape and bind the symbolic dims met here for the first time."""
        if self.static:
            if array.shape != self.shape:
                raise InputError(
                    f"{self.what} has shape {array.shape}, expected {_show(self.shape)}"
                )
            return
        if array.ndim != len(self.shape):
            raise InputError(
                f"{self.what} has shape {array.shape} ({array.ndim} dims), "
                f"expected {_show(self.shape)} ({len(self.shape)} dims)"
            )
        for axis, (found, dim) in enumerate(zip(array.shape, self.shape, strict=True)):
            if is_name(dim) and dim not in env:
                env[dim] = (found, f"{self.what} axis {axis}")
                continue
            expected = _expected(dim, env)
            if expected is not None and found != expected:
                raise InputError(
                    f"{self.what} has shape {array.shape}, expected {_show(self.shape)}: axis "
                    f"{axis} is {found}, expected {expected}{_because(dim, env)}"
                )


class Inputs:
    """The inputs and outputs of a model, as callers see them.

    Args:
        inputs: The model's inputs, in order.
        outputs: The model's outputs, in order.
    """

    def __init__(self, inputs: Sequence[PortType], outputs: Sequence[PortType]) -> None:
        self._inputs = [_Port(p, "input") for p in inputs]
        self._outputs = [_Port(p, "output") for p in outputs]
        self.input_names = tuple(p.name for p in inputs)
        self.output_names = tuple(p.name for p in outputs)
        self._handles = tuple(i for i, p in enumerate(self._outputs) if p.value)

    def ordered(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the values of a mapping in the order of the ports.

        Raises:
            InputError: A name is missing or unknown, or `inputs` is no mapping.
        """
        if not isinstance(inputs, Mapping):
            raise InputError(
                f"inputs must be a mapping from names to arrays, found {type(inputs).__name__}; "
                f"the model's inputs: {_names(self.input_names)}"
            )
        for name in inputs:
            if name not in self.input_names:
                raise InputError(
                    f"the model has no input {name!r}; {choices(str(name), self.input_names)}"
                )
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise InputError(
                f"input {', '.join(map(repr, missing))} is missing; "
                f"the model's inputs: {_names(self.input_names)}"
            )
        return [inputs[name] for name in self.input_names]

    def check(self, values: Sequence[Any]) -> list[Array]:
        """Return inputs in order as dense arrays; only what is strided is copied.

        A value that is no tensor becomes its handle (see `byoc.runtime.value_handles`).

        Raises:
            InputError: Their number, a shape or a dtype does not fit, or one is not on the CPU.
        """
        if len(values) != len(self._inputs):
            raise InputError(
                f"the model takes {len(self._inputs)} inputs ({_names(self.input_names)}), "
                f"got {len(values)}"
            )
        env: dict[str, tuple[int, str]] = {}
        arrays = []
        for port, value in zip(self._inputs, values, strict=True):
            if port.value:
                arrays.append(handle_of(_plain_value(value, port)))
                continue
            array = value if isinstance(value, np.ndarray) else _import(value, port)
            port.check_dtype(array)
            port.check_shape(array, env)
            # ascontiguousarray would make a vector of a scalar
            arrays.append(array if array.flags.c_contiguous else array.copy(order="C"))
        return arrays

    def results(self, arrays: list[Array]) -> list[Any]:
        """Return the outputs as callers see them: values instead of their handles."""
        if self._handles:
            values = take_values([arrays[i] for i in self._handles])
            for index, value in zip(self._handles, values, strict=True):
                arrays[index] = value
        return arrays

    def check_outputs(self, outputs: Mapping[str, Array]) -> list[Array | None]:
        """Return the arrays that results are to be written to, in the order of the ports.

        Args:
            outputs: C-contiguous, writeable arrays by name; some or all.

        Returns:
            The arrays, None where the caller gave none.

        Raises:
            InputError: A name is unknown, or an array does not fit.
        """
        for name in outputs:
            if name not in self.output_names:
                raise InputError(
                    f"the model has no output {name!r}; {choices(str(name), self.output_names)}"
                )
        result: list[Array | None] = []
        for port in self._outputs:
            array = outputs.get(port.name)
            if array is not None:
                if port.value:
                    raise InputError(
                        f"{port.what} is a {port.value}: it cannot be written in place"
                    )
                if not isinstance(array, np.ndarray):
                    raise InputError(
                        f"{port.what} must be written to a numpy array, "
                        f"found {type(array).__name__}"
                    )
                port.check_dtype(array)
                port.check_shape(array, {})
                if not (array.flags.c_contiguous and array.flags.writeable):
                    raise InputError(
                        f"{port.what} must be written to a C-contiguous, writeable array"
                    )
            result.append(array)
        return result


def _plain_value(value: Any, port: _Port) -> Any:
    """A value that is no tensor of numbers; of strings, as an array of `str`."""
    if port.value != "tensor(string)":
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "OUT":
        raise InputError(f"{port.what} has dtype {array.dtype.name}, expected strings")
    return array.astype(object)


def _import(value: Any, port: _Port) -> Array:
    """Something that speaks DLPack (or a numpy scalar) as an array over the same memory."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if not hasattr(value, "__dlpack__"):
        raise InputError(
            f"{port.what} is a {type(value).__name__}, expected a numpy array "
            f"or an object with __dlpack__"
        )
    try:
        device = value.__dlpack_device__()
    except Exception as error:  # the caller's class, of any kind
        raise InputError(f"{port.what} cannot be read through DLPack: {error}") from error
    if device[0] not in _CPU_DEVICES:
        raise InputError(
            f"{port.what} is on DLPack device {tuple(map(int, device))}, expected CPU memory: "
            f"copy it to the CPU first"
        )
    if hasattr(value, "resolve_neg"):  # torch may note a minus sign that DLPack does not pass on
        value = value.resolve_neg()
    try:
        return np.from_dlpack(value)
    except Exception as error:  # the caller's class, of any kind
        array = _import_exotic(value, port)
        if array is None:
            raise InputError(f"{port.what} cannot be read through DLPack: {error}") from error
        return array


def _import_exotic(value: Any, port: _Port) -> Array | None:
    """The same for dtypes that only ml_dtypes knows, or None."""
    import tvm_ffi

    try:
        tensor = tvm_ffi.from_dlpack(value)
        dtype = numpy_dtype(str(tensor.dtype))
        return np.from_dlpack(function("exchange")(tensor)).view(dtype)
    except Exception:
        return None


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.isnative else f"{dtype.name} in foreign byte order"


def _show(shape: Sequence[Dim]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _expected(dim: Dim, env: Mapping[str, tuple[int, str]]) -> int | None:
    """A dimension; None when it cannot be computed: the VM checks every shape it binds."""
    if isinstance(dim, int):
        return dim
    return size_of(dim, {name: size for name, (size, _) in env.items()})


def _because(dim: Dim, env: Mapping[str, tuple[int, str]]) -> str:
    facts = [f"{name} = {env[name][0]} in {env[name][1]}" for name in env if name in names(dim)]
    return f" ({', '.join(facts)})" if facts else ""
