"""Ways from an imported model to the parts of an executable, one file each.

    asked for                 recipe                    answers by
    placement="measured"      measured.py               the placement that was fastest
    max_error=…, "auto"        compared.py               segments in precisions compared
    background=…              background.py             host fallbacks, then engines
    specialise=…              specialised.py            a plan per shape
    nothing of these          plain.py                  one session

A new way is a new file and a line of `MODES`. All have one signature (`Recipe`), take their
options from one value (`CompileOptions`) and begin with one stage (`partition`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from byoc.recipes.background import compile_in_background
from byoc.recipes.compared import compile_compared
from byoc.recipes.measured import compile_measured
from byoc.recipes.options import AUTO, MEASURED, ORDER, CompileOptions
from byoc.recipes.overrides import overrides_of
from byoc.recipes.partition import partition
from byoc.recipes.plain import compile_plain
from byoc.recipes.recipe import Built, Recipe
from byoc.recipes.sizes import with_fixed_sizes
from byoc.recipes.specialised import compile_specialised

__all__ = [
    "AUTO",
    "MEASURED",
    "MODES",
    "ORDER",
    "Built",
    "CompileOptions",
    "Mode",
    "Recipe",
    "overrides_of",
    "partition",
    "recipe_for",
    "with_fixed_sizes",
]


class Mode(NamedTuple):
    """A way of compiling.

    Attributes:
        name: as documentation calls it.
        asked: whether options ask for it.
        recipe: how it is done.
    """

    name: str
    asked: Callable[[CompileOptions], bool]
    recipe: Recipe


MODES = (
    Mode("measured", lambda o: o.measured, compile_measured),
    Mode("compared", lambda o: o.compares, compile_compared),
    Mode("background", lambda o: o.background is not None, compile_in_background),
    Mode("specialised", lambda o: o.specialise is not None, compile_specialised),
    Mode("plain", lambda o: True, compile_plain),
)
"""Read from the top: the first that is asked for. Options exclude each other (`CompileOptions`)."""


def recipe_for(options: CompileOptions) -> Recipe:
    """Find the recipe that options ask for.

    Args:
        options: what was asked of a compilation.

    Returns:
        The recipe of the first mode that is asked for.
    """
    return next(mode.recipe for mode in MODES if mode.asked(options))
