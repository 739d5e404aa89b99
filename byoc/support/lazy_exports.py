"""Names that a package offers but imports only when first used: importing it stays quick.

In: the modules that define the names. Out: the two functions that Python asks for such names.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # as in byoc/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the module functions `__getattr__` and `__dir__` (PEP 562) of a package.

    ::

        __getattr__, __dir__ = lazy_exports(__name__, {"byoc.report.render.why": ("why",)})

    Args:
        package: The package's own name, ``__name__``.
        homes: Module that defines them → the names that the package offers from it.

    Returns:
        The two functions, to be bound to these names in the package.

    """
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(home)
