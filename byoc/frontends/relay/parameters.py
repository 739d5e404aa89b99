"""Which parameters of `@main` have a value."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.frontends.relay.syntax import Function, PlaceError, RelayTensorType
from byoc.segment import Array

__all__ = ["match_params"]


def match_params(main: Function, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Find the array of each parameter of @main.

    Printing changes names (dots become underscores), so these count as equal. Arrays that no
    parameter asks for are left: importers keep constants that they folded.

    Args:
        main: The function @main.
        arrays: Name → array, as ``params=`` has them.

    Returns:
        Parameter → its array.

    Raises:
        PlaceError: An array does not fit its parameter, or no array has one: then the file belongs
            to another model.
    """
    spelled = {_plain(name): array for name, array in arrays.items()}
    found: dict[str, Array] = {}
    for param in main.params:
        name = param.label[1:]
        array = arrays.get(name)
        array = spelled.get(_plain(name)) if array is None else array
        if array is None:
            continue
        kind = param.type
        if isinstance(kind, RelayTensorType) and not _fits(array, kind):
            raise PlaceError(
                param.at, f"{param.label} is declared as {kind.dtype}{list(kind.shape)}, "
                f"params= has {array.dtype}{list(array.shape)}"
            )  # fmt: skip
        found[param.name] = array
    if arrays and not found:
        given = ", ".join(sorted(arrays)[:5])
        wanted = ", ".join(p.label for p in main.params[:5])
        raise PlaceError(
            main.at,
            f"params= has none of @main's parameters: it has {given}, …; @main has {wanted}",
        )
    return found


def _plain(name: str) -> str:
    plain = "".join(c if c.isalnum() else "_" for c in name)
    return plain if plain[:1].isalpha() else f"v{plain}"


def _fits(array: Array, kind: RelayTensorType) -> bool:
    same = len(kind.shape) == array.ndim and all(
        d is None or d == n for d, n in zip(kind.shape, array.shape, strict=True)
    )
    return same and str(array.dtype) == kind.dtype
