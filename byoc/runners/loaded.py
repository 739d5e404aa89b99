"""The runner of a program that was read from a file."""

from __future__ import annotations

from dataclasses import replace

from byoc.runners.plain import PlainRunner
from byoc.runners.runner import Runner
from byoc.runners.specialised import SpecialisedRunner
from byoc.runtime import Program, Session
from byoc.specialise.shapes import saved_shapes

__all__ = ["loaded_runner"]


def loaded_runner(program: Program) -> Runner:
    """Bring a program into memory, with the plans for single shapes that it holds.

    Args:
        program: a whole program, as `byoc.runtime.load_program` reads it.

    Returns:
        What runs it.

    Raises:
        VendorError: a vendor's runtime is missing or refuses a segment.
        ArtifactError: the program, or one of its plans, does not hold together.
    """
    if not program.shapes:
        return PlainRunner(Session(program))
    vm = Session(replace(program, shapes=()))
    plans = [(sizes, Session(plan, log=vm.log)) for sizes, plan in program.shapes]
    return SpecialisedRunner(saved_shapes(vm, plans))
