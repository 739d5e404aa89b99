"""Run a segment: its steps are bound to torch's operators once, and called in their order.

In: the blob that `compile_segment` wrote. Out: a function that byoc calls with numpy arrays. Inputs
are read in place; results are copied to where byoc wants them.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from byoc.errors import ExecutionError, VendorError
from byoc.kit.torch_steps import HIGHER_ORDER, KINDS, Step, Steps, function
from byoc.segment import Array

if TYPE_CHECKING:
    import torch

__all__ = ["init"]

_Values = list[Any]
_Argument = Callable[[_Values], Any]


def init(
    blob: bytes, constants: Sequence[Array], options: Mapping[str, Any]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """Look up the operators.

    Args:
        blob: JSON, see `compile_segment`.
        constants: The weights that the operators read.
        options: None are known.

    Returns:
        A function (inputs, outputs) that writes the outputs; several threads may call it at once.

    Raises:
        VendorError: PyTorch is not installed, or an operator is not registered in this process.
    """
    program = json.loads(blob)
    try:
        import torch
    except ImportError as error:
        titles = ", ".join(op["title"] for op in program["ops"])
        raise VendorError(
            f"{titles} runs in PyTorch, which cannot be imported ({error}); install it with: "
            f"pip install 'tvm-byoc[torch]'"
        ) from error
    known: dict[int, Any] = dict(zip(program["constants"], map(_tensor, constants), strict=True))
    ops = [
        (op["title"], op["inputs"], op["outputs"], _function(Steps.from_json(op["steps"]), op))
        for op in program["ops"]
    ]
    reads, writes = program["inputs"], program["outputs"]

    def execute(inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        values = {**known, **dict(zip(reads, map(_tensor, inputs), strict=True))}
        # As in eager mode below autograd; casts of autocast are steps already.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for title, read, made, run in ops:
                try:
                    results = run([values[v] for v in read])
                except ExecutionError:
                    raise
                except Exception as error:
                    raise ExecutionError(
                        f"{title} raised in torch: {type(error).__name__}: {error}"
                    ) from error
                values.update(zip(made, results, strict=True))
            makers = {v: op[0] for op in ops for v in op[2]} if writes else {}
            for array, value in zip(outputs, writes, strict=True):
                _write(array, values[value], makers.get(value, ""))

    execute.constants = constants  # type: ignore[attr-defined]  # their memory is read in place
    return execute


def _tensor(array: Array) -> torch.Tensor:
    """An array's memory as a tensor, read-only ones and dtypes that numpy lacks included."""
    import torch

    dtype = getattr(torch, array.dtype.name)
    if not array.size:
        return torch.empty(array.shape, dtype=dtype)
    memory = (ctypes.c_char * array.nbytes).from_address(array.__array_interface__["data"][0])
    return torch.frombuffer(memory, dtype=dtype).view(array.shape)


def _write(array: Array, value: Any, title: str) -> None:
    """Copy a result to where it belongs; its type must be what the operator's fake kernel said."""
    import torch

    output = _tensor(array)
    if not isinstance(value, torch.Tensor):
        output.fill_(value)
        return
    if value.shape != output.shape or value.dtype != output.dtype:
        raise ExecutionError(
            f"{title} returned {str(value.dtype).removeprefix('torch.')}{list(value.shape)}, while "
            f"its fake kernel (register_fake) had promised {array.dtype.name}{list(array.shape)}"
        )
    if array.size:
        output.copy_(value)


def _function(steps: Steps, op: Mapping[str, Any]) -> Callable[[Sequence[Any]], Any]:
    """Bind steps to operators: a function from the values it reads to its results."""
    kinds = [_reader(kind) for kind in steps.inputs]
    calls = [(_operator(s, op), *_arguments(s)) for s in steps.steps]
    results = _argument(steps.results)

    def run(given: Sequence[Any]) -> Any:
        values = [read(value) for read, value in zip(kinds, given, strict=True)]
        for target, args, kwargs in calls:
            values.append(
                target(*[a(values) for a in args], **{k: a(values) for k, a in kwargs.items()})
            )
        return results(values)

    return run


def _reader(kind: str) -> Callable[[Any], Any]:
    """How a value is read that comes from outside."""
    name, _, order = kind.partition(":")
    if name not in KINDS:
        raise ValueError(f"an input of torch is read as {name!r}; legal: {', '.join(KINDS)}")
    if name != "tensor":
        plain = {"bool": bool, "int": int, "float": float}[name]
        return lambda value: plain(value.item() if hasattr(value, "item") else value)
    if not order:
        return lambda value: value
    axes = [int(a) for a in order.split(",")]
    back = [axes.index(a) for a in range(len(axes))]
    return lambda value: value.permute(axes).contiguous().permute(back)


def _arguments(step: Step) -> tuple[list[_Argument], dict[str, _Argument]]:
    return [_argument(a) for a in step.args], {k: _argument(a) for k, a in step.kwargs.items()}


def _argument(spec: Any) -> _Argument:
    """A function from the values so far to an argument."""
    if isinstance(spec, list):
        parts = [_argument(s) for s in spec]
        return lambda values: [part(values) for part in parts]
    if isinstance(spec, dict):
        ((kind, what),) = spec.items()
        if kind == "value":
            return lambda values: values[what]
        constant = _constant(kind, what)
        return lambda values: constant
    return lambda values: spec


def _constant(kind: str, what: Any) -> Any:
    import torch

    if kind == "graph":
        inner = Steps.from_json(what)
        run = _function(inner, {"title": "a function"})
        several = isinstance(inner.results, list)
        return lambda *given: tuple(run(given)) if several else run(given)
    if kind == "op":
        return _registered(what, "", torch._ops.OpOverload)
    if kind == "float":
        return float(what)
    if kind == "complex":
        return complex(*what)
    if kind == "device":
        return torch.device(what)
    if kind in ("dtype", "layout", "memory_format"):
        found = getattr(torch, what, None)
        if isinstance(found, getattr(torch, kind)):
            return found
    raise ValueError(f"torch knows no {kind} {what!r}")


def _operator(step: Step, op: Mapping[str, Any]) -> Callable[..., Any]:
    space, _, name = step.op.partition("::")
    if space == "python":
        return function(name)
    if space == "higher_order" and name not in HIGHER_ORDER:
        raise ValueError(f"{step.op} is none of {', '.join(HIGHER_ORDER)}")
    import torch

    kind = torch._ops.HigherOrderOperator if space == "higher_order" else torch._ops.OpOverload
    found: Callable[..., Any] = _registered(step.op, f" of node {op['title']}", kind)
    return found


def _registered(full: str, where: str, kind: type) -> Any:
    """An operator that is registered in this process, by its name; nothing else of torch's."""
    import torch

    space, _, name = full.partition("::")
    found = getattr(torch.ops, space, None)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, kind):
        raise VendorError(
            f"the operator {full!r}{where} is not registered in this process: import the package "
            f"that defines it (torch.library) before the model is loaded"
        )
    return found
