"""Compile a symbolic model, and plans of its own for every shape that comes often.

model ──▶ partition ──▶ build ──▶ session of the symbolic model ─┐
└─ dimensions filled in ──▶ the same again, static ──▶ plans ──┴─▶ SpecialisedRunner
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byoc.build.program import compile_program
from byoc.errors import CompileError
from byoc.recipes.options import CompileOptions
from byoc.recipes.partition import partition
from byoc.recipes.recipe import Built
from byoc.runners import PlainRunner, SpecialisedRunner
from byoc.specialise.build import make_shapes
from byoc.specialise.options import Specialise

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested
    from byoc.runtime.program import Program

__all__ = ["compile_specialised"]


def compile_specialised(
    model: Model, requests: Sequence[Requested], options: CompileOptions
) -> Built:
    """Compile a model with symbolic dimensions, and prepare plans for single shapes.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order.
        options: how to place, heal and isolate; `specialise` says which shapes get a plan.

    Returns:
        A runner over the plans (over one session, where the model has no symbolic dimension), and
        the report of the symbolic model.

    Raises:
        OptionError: `specialise` names a dimension or an input that the model does not have.
        ByocError: what partitioning, vendors and the host raise.
    """

    def compile_static(bound: Model, sizes: Mapping[str, int]) -> Program:
        return _static_program(bound, sizes, requests, options)

    parts = partition(model, requests, options)
    program, report = compile_program(model, parts, requests, options.heal, options.isolation)
    how = options.specialise or Specialise()
    vm, shapes = make_shapes(model, program, how, compile_static)
    runner = PlainRunner(vm) if shapes is None else SpecialisedRunner(shapes)
    return Built(runner, report)


def _static_program(
    model: Model,
    sizes: Mapping[str, int],
    requests: Sequence[Requested],
    options: CompileOptions,
) -> Program:
    """A model with these sizes filled in, compiled as one of fixed shapes. Raises ByocError."""
    from byoc import host

    parts = partition(model, requests, options)
    if host.needs_vm(parts.mod):
        raise CompileError(
            f"model {model.name!r} needs the VM with sizes {dict(sizes)}, too: it has control "
            f"flow, or shapes that depend on values"
        )
    program, _ = compile_program(model, parts, requests, options.heal, options.isolation)
    return program
