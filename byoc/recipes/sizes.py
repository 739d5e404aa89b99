"""Sizes that the user fixed, filled into the model before any recipe sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byoc.recipes.options import CompileOptions
from byoc.support.internal_errors import expect_no_foreign

if TYPE_CHECKING:
    from byoc.frontends import Model

__all__ = ["with_fixed_sizes"]


def with_fixed_sizes(source: Model, options: CompileOptions) -> Model:
    """Return the model with the symbolic dimensions of `options.dims` filled in.

    Measured placement keeps them: it measures with these sizes.

    Args:
        source: the model as it was imported; not changed.
        options: what was asked for.

    Raises:
        OptionError: the model has no such dimension, or a size is none.
        CompileError: the sizes do not go together.
    """
    if not options.dims or options.measured:
        return source
    from byoc.specialise.build import fix_dims

    with expect_no_foreign(source.name, "fixing its dimensions"):
        return fix_dims(source, options.dims)
