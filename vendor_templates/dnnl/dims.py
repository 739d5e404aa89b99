"""Symbolic dimensions of a program: every variable must be the bare name of an input's dim.

In: the dims of a segment's inputs and values, in canonical spelling (`byoc.dims`). Out: what to
write for each, because the runtime learns a variable only from an input whose dim is that name::

    inputs  [n * 12, 64]   values  [n * 12, 64]  [n, 768]
    bind    [s0, 64]               [s0, 64]      [s0 // 12, 768]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from byoc.dims import Dim, Expr, Operation, is_name, names, parse, show

__all__ = ["bind"]


def bind(inputs: Iterable[Dim], used: Iterable[Dim]) -> dict[Dim, Dim]:
    """Find what to write for each dim so that every variable is the bare name of an input's dim.

    Args:
        inputs: The dims of all inputs.
        used: The dims of all values.

    Returns:
        Dim → its new spelling; dims that are not in it stay.

    Raises:
        ValueError: No input determines some variables; the message names the dims that need them.

    """
    inputs, used = list(inputs), list(used)
    compound = [d for d in dict.fromkeys(inputs) if isinstance(d, str) and not is_name(d)]
    known = {d for d in inputs if is_name(d)}
    fresh: dict[Dim, Dim] = {}
    solved: dict[str, Expr] = {}
    taken = set().union(known, *(names(d) for d in used))
    for dim in compound:
        if names(dim) <= known:
            continue  # determined already: the runtime checks nothing it cannot compute
        name = next(f"s{i}" for i in range(len(taken) + 1) if f"s{i}" not in taken)
        taken.add(name)
        fresh[dim] = name
        unknown = names(dim) - known
        if len(unknown) == 1 and (inverse := _solve(parse(dim), name)) is not None:
            solved.setdefault(next(iter(unknown)), inverse)
    lost: list[str] = []
    for used_dim in dict.fromkeys(used):
        if isinstance(used_dim, int) or used_dim in fresh or names(used_dim) <= known:
            continue
        if not names(used_dim) <= known | solved.keys():
            lost.append(used_dim)
            continue
        fresh[used_dim] = show(_substitute(parse(used_dim), solved))
    if lost:
        raise ValueError(
            f"dimension(s) {', '.join(sorted(lost))} cannot be computed "
            f"from the shapes of the inputs"
        )
    return fresh


_OPPOSITE = {"*": "//", "+": "-", "-": "+"}


def _solve(expr: Expr, value: Expr) -> Expr | None:
    """The variable in ``v * k``, ``v + k``, ``v - k``, or a chain of these, that gives `value`."""
    match expr:
        case str():
            return value
        case Operation("*" | "+" | "-" as sign, inner, int(k)):
            return _solve(inner, Operation(_OPPOSITE[sign], value, k))
        case Operation("*" | "+" as sign, int(k), inner):
            return _solve(inner, Operation(_OPPOSITE[sign], value, k))
    return None


def _substitute(expr: Expr, table: Mapping[str, Expr]) -> Expr:
    if isinstance(expr, Operation):
        return Operation(expr.sign, _substitute(expr.left, table), _substitute(expr.right, table))
    return table.get(expr, expr) if isinstance(expr, str) else expr
