"""Compile once more what a caller gives other values than those stored in the model.

model ──import_model──▶ defaults are constants ──recipe──▶ the runner that everybody asks
  └────import_overridden──▶ some are inputs ────recipe──▶ one for callers that give these
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.build.compiler_lock import one_at_a_time
from byoc.errors import InputError, ModelError
from byoc.recipes.options import CompileOptions
from byoc.recipes.recipe import Recipe
from byoc.recipes.sizes import with_fixed_sizes
from byoc.runners import Overrides, Runner
from byoc.support.internal_errors import expect_no_foreign

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested

__all__ = ["overrides_of"]


def overrides_of(
    model: Any,
    source: Model,
    runner: Runner,
    recipe: Recipe,
    requests: Sequence[Requested],
    options: CompileOptions,
) -> Overrides | None:
    """What compiles a model once more for callers that give inputs which have a default.

    Args:
        model: as the user gave it; it is read again then.
        source: the same, imported.
        runner: what runs it with its defaults.
        recipe: how it was compiled.
        requests: the vendors that were asked for, in order.
        options: as it was compiled.

    Returns:
        None for a model of which no input has a default.
    """
    if not source.defaults or source is model:
        return None
    before = _state(model)

    @one_at_a_time
    def build(names: frozenset[str]) -> Runner:
        from byoc.frontends import import_overridden

        shown = ", ".join(map(repr, sorted(names)))
        if _state(model) != before:
            raise InputError(
                f"model {source.name!r} was changed since it was compiled, so that it cannot be "
                f"compiled with {shown} as inputs; compile it again"
            )
        try:
            with expect_no_foreign(source.name, "compiling"):
                again = with_fixed_sizes(import_overridden(model, names), options)
                return recipe(again, requests, options).runner
        except ModelError as error:
            raise InputError(
                f"model {source.name!r} cannot be compiled with {shown} as inputs: {error}; leave "
                f"them out, or store other values in the model"
            ) from None

    names = tuple(port.name for port in runner.program.inputs)
    return Overrides(names, source.defaults, build)


def _state(model: Any) -> Any:
    """What tells that a file or a proto is still the one that was compiled."""
    if isinstance(model, (str, os.PathLike)):
        state = Path(model).stat()
        return state.st_mtime_ns, state.st_size
    if isinstance(model, (bytes, bytearray, memoryview)):
        return hashlib.sha256(model).digest()
    return hashlib.sha256(model.SerializeToString(deterministic=True)).digest()
