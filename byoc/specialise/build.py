"""From a model with symbolic dimensions and their sizes to a session: the pipeline once more.

    Model ──dims filled in──▶ Model ──normal form──▶ partition ─▶ build ─▶ Program ─▶ Session

Weights are in memory once for all plans, as far as their layouts agree: what one plan has made of
them (packed for a kernel, handed to a vendor) is what the next one gets, found by its bytes.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.build.program import COMPILING, HealSpec, build_program, compile_segments
from byoc.errors import CompileError
from byoc.kit.foreign_op import check_placed
from byoc.runtime import Session
from byoc.segment import Array
from byoc.specialise.options import Specialise, check_options, symbolic_dims
from byoc.specialise.shapes import Shapes

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.plugins.discovery import Requested
    from byoc.runtime.program import Program

__all__ = ["bind_dims", "make_shapes"]


def bind_dims(model: Model, sizes: Mapping[str, int]) -> Model:
    """The model with sizes for dimensions of its inputs, in normal form again.

    Raises CompileError for sizes that do not go together.
    """
    import tvm
    from tvm import relax

    from byoc.frontends.normalise import normalise_module
    from byoc.ir.decode import Decoder

    main = model.mod["main"]
    decoder = Decoder()
    found: dict[Any, int] = {}
    for param in main.params:
        shape = getattr(param.ty, "shape", None)
        for dim in shape.values if isinstance(shape, relax.ShapeExpr) else ():
            if not isinstance(dim, tvm.tirx.IntImm) and str(decoder.dim(dim)) in sizes:
                found[dim] = sizes[str(decoder.dim(dim))]
    try:
        bound = main.bind_symbolic_vars(found)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CompileError(
            f"model {model.name!r} cannot have the sizes {dict(sizes)}: {lines[-1][:300]}"
        ) from error
    functions = dict(model.mod.functions_items())
    functions[model.mod.get_global_var("main")] = bound
    mod = tvm.IRModule(functions, attrs=model.mod.attrs)
    return replace(model, mod=normalise_module(mod))


def make_shapes(
    model: Model,
    program: Program,
    requests: Sequence[Requested],
    partition: Callable[[Model], PartitionResult],
    heal: HealSpec,
    specialise: bool | Specialise,
) -> tuple[Session, Shapes | None]:
    """The VM's session of a model with symbolic dimensions, and its plans.

    program: the model on the VM. partition: how the model is split. Plans named in
    `Specialise.shapes` are built now. A model without symbolic dimensions has no plans.
    Raises OptionError for options that do not fit the model, and what building raises.
    """
    options = specialise if isinstance(specialise, Specialise) else Specialise()
    check_options(options, program.inputs)
    weights = _Weights()
    vm = Session(program)
    if not symbolic_dims(program.inputs):
        return vm, None

    def build(sizes: Mapping[str, int]) -> Session:
        found = _specialised_program(model, sizes, requests, partition, heal)
        return Session(weights.share(replace(found, isolation=program.isolation)), log=vm.log)

    prepared = [(sizes, build(sizes)) for sizes in options.shapes]
    return vm, Shapes(vm, options, build, prepared)


def _specialised_program(
    model: Model,
    sizes: Mapping[str, int],
    requests: Sequence[Requested],
    partition: Callable[[Model], PartitionResult],
    heal: HealSpec,
) -> Program:
    """The static program of a model for given sizes. Raises ByocError."""
    from byoc import host

    with COMPILING:
        bound = bind_dims(model, sizes)
        parts = partition(bound)
        if host.needs_vm(parts.mod):
            raise CompileError(
                f"model {model.name!r} needs the VM with sizes {dict(sizes)}, too: it has control "
                f"flow, or shapes that depend on values"
            )
        check_placed(parts.mod, model.name, [request.vendor.name for request in requests])
        artifacts, refused = compile_segments(parts.segments, requests, heal)
        program = build_program(bound, parts, requests, artifacts, heal)
        return replace(program, refused=refused)


class _Weights:
    """The arrays of all plans; equal ones are one while any plan holds it."""

    _SMALL = 1024  # bytes: not worth looking up

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[tuple[Any, ...], Array] = (
            weakref.WeakValueDictionary()
        )

    def share(self, program: Program) -> Program:
        """The program over arrays that are known already, where it has equal ones."""
        return replace(
            program,
            constants=self._all(program.constants),
            artifacts=tuple(
                replace(a, constants=self._all(a.constants)) for a in program.artifacts
            ),
            twins={
                name: replace(twin, constants=self._all(twin.constants))
                for name, twin in program.twins.items()
            },
        )

    def _all(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(map(self._one, arrays))

    def _one(self, array: Array) -> Array:
        if array.nbytes < self._SMALL or not array.flags.c_contiguous:
            return array
        data = array.reshape(-1).view(np.uint8)
        key = (array.dtype.str, array.shape, hashlib.blake2b(data.data, digest_size=24).digest())
        return self._known.setdefault(key, array)
