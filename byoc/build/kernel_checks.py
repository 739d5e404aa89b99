"""What a vendor with a `HostRuntime` gave back, checked before byoc compiles it.

In: any object that its compile() returned. Out: a `HostArtifact` whose calls and kernels fit each
other and the segment: values are written once, by one call, before they are read; a kernel's
arguments have the types of the values that it is called with. A plan over such kernels needs no
check at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from byoc.contract_checks import can_be_stored, check_requires
from byoc.errors import CompileError, choices
from byoc.segment import HostArtifact, KernelCall, Segment, TensorType

__all__ = ["check_host_artifact"]


def check_host_artifact(artifact: object, segment: Segment) -> HostArtifact:
    """Return what a vendor's compile() gave back, after checking that it keeps the contract.

    Args:
        artifact: What it returned; any object.
        segment: What it was given.

    Returns:
        The artifact; the constants include those of the segment.

    Raises:
        CompileError: It is no `HostArtifact` of this segment and vendor, or its parts do not fit
            each other. The message is written for the vendor's author.
    """
    who = f"vendor author: compile() of {segment.vendor!r}, segment {segment.name!r}"
    if not isinstance(artifact, HostArtifact):
        raise CompileError(
            f"{who}: a vendor with a HostRuntime must return a byoc.HostArtifact, "
            f"found {artifact!r:.80}"
        )
    if (artifact.segment, artifact.vendor) != (segment.name, segment.vendor):
        raise CompileError(
            f"{who}: the HostArtifact must be of segment {segment.name!r} and vendor "
            f"{segment.vendor!r}, found {artifact.segment!r} and {artifact.vendor!r}"
        )
    for name in ("calls", "values", "notes"):
        if not isinstance(getattr(artifact, name), (tuple, list)):
            found = type(getattr(artifact, name)).__name__
            raise CompileError(f"{who}: HostArtifact.{name} must be a tuple, found {found}")
    if not all(isinstance(note, str) for note in artifact.notes):
        raise CompileError(f"{who}: HostArtifact.notes must be strings, found {artifact.notes!r}")
    for number, kind in enumerate(artifact.values):
        if not isinstance(kind, TensorType):
            raise CompileError(
                f"{who}: HostArtifact.values[{number}] must be a byoc.TensorType, found {kind!r}"
            )
    types = (*segment.values, *artifact.values)
    checked = replace(
        artifact,
        calls=tuple(artifact.calls),
        values=tuple(artifact.values),
        constants={**segment.constants, **_checked_constants(artifact.constants, types, who)},
        notes=tuple(artifact.notes),
        requires=check_requires(artifact.requires, who),
    )
    kernels = _named_kernels(artifact.kernels, who)
    _check_flow(checked, segment, len(types), who)
    for number, call in enumerate(checked.calls):
        _check_call(call, kernels, types, f"{who}: calls[{number}]")
    return checked


def _checked_constants(
    constants: object, types: tuple[TensorType, ...], who: str
) -> Mapping[int, Any]:
    if not isinstance(constants, Mapping):
        raise CompileError(
            f"{who}: HostArtifact.constants must map value ids to arrays, "
            f"found {type(constants).__name__}"
        )
    for value, array in constants.items():
        known = isinstance(value, int) and 0 <= value < len(types)
        if not known or not isinstance(array, np.ndarray) or not can_be_stored(array):
            raise CompileError(
                f"{who}: HostArtifact.constants must map value ids (0 to {len(types) - 1}) to "
                f"numpy arrays of numbers, found {value!r}: {type(array).__name__}"
            )
        found = TensorType(array.shape, array.dtype.name)
        if found != types[value]:
            raise CompileError(
                f"{who}: HostArtifact.constants[{value}] must be of the value's type "
                f"{types[value]}, found {found}"
            )
    return constants


def _named_kernels(kernels: object, who: str) -> dict[str, Any]:
    import tvm
    from tvm import tirx

    if not isinstance(kernels, tvm.IRModule):
        raise CompileError(
            f"{who}: HostArtifact.kernels must be a tvm.IRModule of PrimFuncs, found "
            f"{type(kernels).__name__}; write tvm.IRModule({{'name': function}})"
        )
    named = {var.name_hint: function for var, function in kernels.functions_items()}
    for name, function in named.items():
        if not isinstance(function, tirx.PrimFunc):
            raise CompileError(
                f"{who}: kernel {name!r} must be a PrimFunc, found {type(function).__name__}"
            )
    return named


def _check_flow(artifact: HostArtifact, segment: Segment, count: int, who: str) -> None:
    """Values are known before they are read, and written once."""
    there = {*segment.inputs, *artifact.constants}
    for number, call in enumerate(artifact.calls):
        where = f"{who}: calls[{number}]"
        if not isinstance(call, KernelCall):
            raise CompileError(f"{where} must be a byoc.KernelCall, found {call!r:.80}")
        for value in (*call.inputs, *call.outputs):
            if not isinstance(value, int) or not 0 <= value < count:
                raise CompileError(
                    f"{where} of {call.kernel!r}: {value!r} is no value id; there are 0 to "
                    f"{count - 1} (those of HostArtifact.values come last)"
                )
        if not call.outputs:
            raise CompileError(f"{where} of {call.kernel!r} writes nothing")
        for value in call.inputs:
            if value not in there:
                raise CompileError(
                    f"{where} of {call.kernel!r} reads value {value}, which is no input or "
                    f"constant and which no call before it writes"
                )
        for value in call.outputs:
            if value in there:
                raise CompileError(
                    f"{where} of {call.kernel!r} writes value {value}, which is there already: an "
                    f"input, a constant, or what another call writes"
                )
            there.add(value)
    missing = [value for value in segment.outputs if value not in there]
    if missing:
        raise CompileError(f"{who}: no call writes its outputs: values {missing}")
    given = [value for value in segment.outputs if value in {*segment.inputs, *artifact.constants}]
    if given:
        raise CompileError(f"{who}: outputs {given} must be written by a call, not be given")


def _check_call(
    call: KernelCall, kernels: Mapping[str, Any], types: tuple[TensorType, ...], where: str
) -> None:
    """A kernel takes tensors of the types of the values that it is called with."""
    kernel = kernels.get(call.kernel)
    if kernel is None:
        raise CompileError(f"{where}: there is no kernel {call.kernel!r}; "
                           f"{choices(str(call.kernel), kernels)}")  # fmt: skip
    values = (*call.inputs, *call.outputs)
    if len(kernel.params) != len(values):
        raise CompileError(
            f"{where}: kernel {call.kernel!r} takes {len(kernel.params)} tensors, the call has "
            f"{len(call.inputs)} inputs and {len(call.outputs)} outputs"
        )
    for number, (buffer, value) in enumerate(zip(kernel.params, values, strict=True)):
        if not hasattr(buffer.ty, "shape"):
            raise CompileError(
                f"{where}: argument {number} of kernel {call.kernel!r} must be a tensor (a buffer)"
            )
        expected = types[value]
        found = TensorType(tuple(map(_size, buffer.shape)), str(buffer.dtype))
        same = len(found.shape) == len(expected.shape) and all(
            a == b for a, b in zip(found.shape, expected.shape, strict=True)
            if isinstance(a, int) and isinstance(b, int)
        )  # fmt: skip
        if not same or found.dtype != expected.dtype:
            raise CompileError(
                f"{where}: argument {number} of kernel {call.kernel!r} is {found}, value {value} "
                f"is {expected}"
            )


def _size(dim: Any) -> int | str:
    value = getattr(dim, "value", dim)
    return int(value) if isinstance(value, int) else str(dim)
