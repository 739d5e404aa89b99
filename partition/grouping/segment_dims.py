"""The symbolic dimensions of a segment in terms of what its inputs tell.

A vendor reads the size of a name off an input that has it as a plain dimension. Behind a strided
convolution on the host no input has ``h`` any more, but one has ``(h - 1) // 2 + 1``. That gets a
name of its own, and what is computed of it is said by that name::

    input    [(h - 1) // 2 + 1]         [s0]
    values   [(h - 1) // 2 * 2 + 2]     [(s0 - 1) * 2 + 2]
             [(h - 1) // 4 + 1]         [(s0 - 1) // 2 + 1]

The input's dimension is undone up to what cannot be undone, here ``(h - 1) // 2 = s0 - 1``; where
that stands in another dimension, whole or divided further, it is replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from byoc.dims import Dim, Expr, Operation, is_legal, is_name, names, parse, show

__all__ = ["SegmentDims", "segment_dims"]

_INVERSE = {"*": "//", "+": "-", "-": "+"}


@dataclass(frozen=True)
class SegmentDims:
    """How the dimensions of a segment are spelled for its vendor.

    Attributes:
        fresh: Dimension of an input → the name that it gets.
        parts: What is known by these names → how it is computed.
        known: Names that are plain dimensions of inputs.
    """

    fresh: Mapping[Dim, str]
    parts: Mapping[Expr, Expr]
    known: Collection[str]

    def of(self, dim: Dim) -> Dim | None:
        """A dimension by the names that inputs tell; None where they do not tell enough.

        Args:
            dim: The dimension as the model's graph has it.
        """
        if isinstance(dim, int):
            return dim
        if not is_legal(dim):
            return None
        if names(dim) <= frozenset(self.known):
            return dim
        if dim in self.fresh:
            return self.fresh[dim]
        found = show(_replaced(parse(dim), self.parts))
        told = frozenset(self.known) | frozenset(self.fresh.values())
        return found if names(found) <= told else None


def segment_dims(inputs: Iterable[Dim], used: Iterable[Dim]) -> SegmentDims | None:
    """The dimensions of a segment whose inputs determine all of them.

    Args:
        inputs: The dimensions of its inputs.
        used: The dimensions of all its values.

    Returns:
        None where a dimension cannot be computed of the inputs' sizes.
    """
    inputs, used = list(dict.fromkeys(inputs)), list(dict.fromkeys(used))
    known = frozenset(d for d in inputs if is_name(d))
    taken = known.union(*map(names, (*inputs, *used)))
    fresh: dict[Dim, str] = {}
    parts: dict[Expr, Expr] = {}
    for dim in inputs:
        if isinstance(dim, int) or not is_legal(dim) or names(dim) <= known:
            continue
        name = next(n for i in range(len(taken) + 1) if (n := f"s{i}") not in taken)
        taken |= {name}
        fresh[dim] = name
        core, value = _undone(parse(dim), name)
        parts.setdefault(core, value)
    found = SegmentDims(fresh, parts, known)
    return None if any(found.of(d) is None for d in used) else found


def _undone(expr: Expr, value: Expr) -> tuple[Expr, Expr]:
    """What is left of an expression once sums and products are undone, and what it is."""
    match expr:
        case Operation("*" | "+" | "-" as sign, inner, int(number)) if number:
            return _undone(inner, Operation(_INVERSE[sign], value, number))
        case Operation("*" | "+" as sign, int(number), inner) if number:
            return _undone(inner, Operation(_INVERSE[sign], value, number))
    return expr, value


def _replaced(expr: Expr, parts: Mapping[Expr, Expr]) -> Expr:
    if expr in parts:
        return parts[expr]
    if not isinstance(expr, Operation):
        return expr
    match expr:
        case Operation("//", inner, int(divisor)) if divisor > 0:
            for known, value in parts.items():  # x // 4 is (x // 2) // 2
                match known:
                    case Operation("//", same, int(part)) if same == inner and part > 0:
                        if divisor % part == 0:
                            return Operation("//", value, divisor // part)
    return Operation(expr.sign, _replaced(expr.left, parts), _replaced(expr.right, parts))
