"""From a model with symbolic dimensions and their sizes to a session.

    Model ──dims filled in──▶ Model ──normal form──▶ compile_static ─▶ Program ─▶ Session

What makes a program of a static model is given: this module neither partitions nor builds.

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

from byoc.build.compiler_lock import COMPILING
from byoc.errors import CompileError
from byoc.runtime import Session
from byoc.segment import Array
from byoc.specialise.options import Specialise, check_options, symbolic_dims
from byoc.specialise.shapes import Shapes
from byoc.support.arguments import check_sizes

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.runtime.program import Program

__all__ = ["bind_dims", "fix_dims", "make_shapes"]


def bind_dims(model: Model, sizes: Mapping[str, int]) -> Model:
    """Give dimensions of a model's inputs their sizes, and bring it into normal form again.

    Args:
        model: a model with symbolic dimensions; not changed.
        sizes: dimension → size; those left out stay symbolic.

    Returns:
        The model for these sizes.

    Raises:
        CompileError: the sizes do not go together.
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


def fix_dims(model: Model, dims: Mapping[str, int]) -> Model:
    """Give symbolic dimensions of a model the sizes that a user wants it compiled for.

    Args:
        model: the model as it was imported; not changed.
        dims: dimension → size; those left out stay symbolic.

    Returns:
        The model for these sizes: a static one where no symbolic dimension is left.

    Raises:
        OptionError: the model's inputs have no such dimension, or a size is none.
        CompileError: the sizes do not go together.
    """
    from byoc.ir.ports import port_types

    inputs, _ = port_types(model.mod["main"], model.inputs, model.outputs, model.values)
    check_sizes(dims, symbolic_dims(inputs))
    return bind_dims(model, dims)


def make_shapes(
    model: Model,
    program: Program,
    options: Specialise,
    compile_static: Callable[[Model, Mapping[str, int]], Program],
) -> tuple[Session, Shapes | None]:
    """Bring a model with symbolic dimensions into memory, and prepare its plans.

    Plans named in `Specialise.shapes` are built now.

    Args:
        model: the model as it was imported.
        program: the same, compiled for all shapes.
        options: which shapes get a plan, and when.
        compile_static: makes a program of the model with its dimensions filled in, given both the
            model and the sizes.

    Returns:
        The session that takes all shapes, and the plans; None where the model has no symbolic
        dimension and can have none.

    Raises:
        OptionError: options that do not fit the model.
        ByocError: what `compile_static` raises for a named shape.
    """
    check_options(options, program.inputs)
    weights = _Weights()
    vm = Session(program)
    if not symbolic_dims(program.inputs):
        return vm, None

    def build(sizes: Mapping[str, int]) -> Session:
        with COMPILING:
            found = compile_static(bind_dims(model, sizes), sizes)
        return Session(weights.share(found), log=vm.log)

    prepared = [(sizes, build(sizes)) for sizes in options.shapes]
    return vm, Shapes(vm, options, build, prepared)


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
