"""Einstein sums as products of matrices, which vendors have kernels for.

The letters of two operands fall into four groups, and a batched product of matrices has exactly
these four:

    bqhd , bkhd -> bhqk          b h   in both and in the result     batch
                                 q     in the left and the result    rows
                                 k     in the right and the result   columns
                                 d     in both, not in the result    summed

    left  ─ transpose ─▶ [b, h, q, d] ╮
    right ─ transpose ─▶ [b, h, d, k] ┴ matmul ─▶ [b, h, q, k] ─ transpose ─▶ result

A group of several letters is one axis for the product, by a reshape; rows stay apart where the
right side is a plain matrix, as the product broadcasts. What only one operand has and the result
has not is summed first. With nothing to sum it is a multiplication that broadcasts. More than two
operands are multiplied two by two, in the order that numpy's `einsum_path` finds cheapest.

Left as it is: a letter twice in one operand (a diagonal), lengths of one letter that differ or are
0, integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.fitting.dims import product
from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]

_SOME_LENGTH = 64  # stands for a symbolic one when the cheapest order is looked for


@dataclass(frozen=True)
class _Operand:
    """A tensor and a letter for each of its axes."""

    value: Value
    letters: str


def _rewrite(graph: Graph, node: GraphNode) -> Value | None:
    values = _values(node)
    if values is None or node.dtype not in ("float16", "bfloat16", "float32", "float64"):
        return None
    read = _read(str(node.call.attrs.subscripts).replace(" ", ""), [v.ndim for v in values])
    if read is None:
        return None
    terms, result = read
    lengths: dict[str, Any] = {}
    for value, letters in zip(values, terms, strict=True):
        if len(set(letters)) != len(letters) or value.shape is None or 0 in _numbers(value):
            return None
        for letter, dim in zip(letters, value.shape, strict=True):
            if _is_one(lengths.setdefault(letter, dim)):
                lengths[letter] = dim
            elif not _is_one(dim) and not same_dims((lengths[letter],), (dim,)):
                return None
    if set(result) - set(lengths) or len(set(result)) != len(result):
        return None
    operands = [
        _without_ones(graph, _Operand(v, t), lengths) for v, t in zip(values, terms, strict=True)
    ]
    for first, second in _order(operands, result):
        right, left = operands.pop(second), operands.pop(first)
        needed = set(result).union(*(o.letters for o in operands))
        operands.append(_product(graph, left, right, result, needed, lengths))
    value = _moved(graph, _sum_out(graph, operands[0], set(result)), result)
    return value if same_dims(value.shape, node.shape) else None


def _is_one(dim: Any) -> bool:
    return isinstance(dim, int) and dim == 1


def _values(node: GraphNode) -> list[Value] | None:
    parts = node.args[0] if isinstance(node.args[0], tuple) else ()
    values = [p for p in parts if isinstance(p, Value) and p.dtype == node.dtype]
    return values if values and len(values) == len(parts) else None


def _numbers(value: Value) -> list[int]:
    return [d for d in value.shape or () if isinstance(d, int)]


def _read(text: str, ranks: list[int]) -> tuple[list[str], str] | None:
    """The letters of every operand and of the result, "..." spelled out.

    Args:
        text: The equation, without blanks.
        ranks: The number of axes of each operand.

    Returns:
        Letters of the operands, letters of the result; None when they do not fit the ranks.
    """
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        return None
    unused = [c for c in ascii_letters if c not in text]
    hidden = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True)]
    most = max([0, *(h for h, t in zip(hidden, terms, strict=True) if "..." in t)])
    if any(h < 0 or (h and "..." not in t) for h, t in zip(hidden, terms, strict=True)):
        return None
    if most > len(unused):
        return None
    shared = "".join(unused[:most])
    if not arrow:  # what occurs once, in the order of the alphabet, behind what is hidden
        plain = left.replace("...", "").replace(",", "")
        result = "..." * ("..." in left) + "".join(
            c for c in sorted(set(plain)) if plain.count(c) == 1
        )
    spelled = [t.replace("...", shared[most - h :]) for t, h in zip(terms, hidden, strict=True)]
    return spelled, result.replace("...", shared)


def _without_ones(graph: Graph, operand: _Operand, lengths: dict[str, Any]) -> _Operand:
    """The operand without axes of length 1 that stand for any length."""
    spread = [
        i
        for i, (letter, dim) in enumerate(
            zip(operand.letters, operand.value.shape or (), strict=True)
        )
        if _is_one(dim) and not _is_one(lengths[letter])
    ]
    if not spread:
        return operand
    value = graph.emit(relax.op.squeeze(operand.value.expr, spread))
    return _Operand(value, "".join(c for i, c in enumerate(operand.letters) if i not in spread))


def _order(operands: list[_Operand], result: str) -> list[tuple[int, int]]:
    """Which two to multiply next, by their places in a list to whose end their product goes."""
    count = len(operands)
    if count > 2:
        views = [
            np.broadcast_to(
                0, [d if isinstance(d, int) else _SOME_LENGTH for d in o.value.shape or ()]
            )
            for o in operands
        ]
        equation = ",".join(o.letters for o in operands) + "->" + result
        path = np.einsum_path(equation, *views, optimize="greedy")[0][1:]
        if all(len(step) == 2 for step in path):
            return [(min(step), max(step)) for step in path]
    return [(0, left - 1) for left in range(count, 1, -1)]


def _product(
    graph: Graph,
    left: _Operand,
    right: _Operand,
    result: str,
    needed: set[str],
    lengths: dict[str, Any],
) -> _Operand:
    left = _sum_out(graph, left, needed | set(right.letters))
    right = _sum_out(graph, right, needed | set(left.letters))
    place = {c: i for i, c in enumerate([*result, *sorted(needed - set(result))])}
    common = set(left.letters) & set(right.letters)
    summed = [c for c in left.letters if c in common - needed]
    if not summed:
        return _multiplied(graph, left, right, sorted(place, key=place.__getitem__))
    batch = sorted(common & needed, key=place.__getitem__)
    rows = sorted(set(left.letters) - common, key=place.__getitem__)
    columns = sorted(set(right.letters) - common, key=place.__getitem__)
    # Weights stand on the right; else what comes last in the result does, as no transpose follows.
    weights = isinstance(left.value, Const) - isinstance(right.value, Const)
    late = bool(rows and columns) and place[columns[-1]] < place[rows[-1]]
    if weights > 0 or (weights == 0 and late):
        left, right, rows, columns = right, left, columns, rows
    apart = [[c] for c in rows] if not batch and len(rows) > 1 else [rows]
    single = [[c] for c in batch]
    a = _grouped(graph, left, [*single, *apart, summed], lengths)
    b = _grouped(graph, right, [*single, summed, columns], lengths)
    value = graph.emit(relax.op.matmul(a.expr, b.expr))
    letters = "".join([*batch, *rows, *columns])
    shape = tuple(lengths[c] for c in letters)
    if not same_dims(value.shape, shape):
        value = graph.emit(relax.op.reshape(value.expr, list(shape)))
    return _Operand(value, letters)


def _grouped(
    graph: Graph, operand: _Operand, groups: list[list[str]], lengths: dict[str, Any]
) -> Value:
    """The operand with one axis for each group of letters; of length 1 where there are none."""
    moved = _moved(graph, operand, "".join(c for group in groups for c in group))
    if all(len(group) == 1 for group in groups):
        return moved
    return graph.emit(
        relax.op.reshape(moved.expr, [product([lengths[c] for c in g]) for g in groups])
    )


def _multiplied(graph: Graph, left: _Operand, right: _Operand, order: list[str]) -> _Operand:
    """The products of all pairs: no axis is summed."""
    letters = "".join(c for c in order if c in left.letters or c in right.letters)
    widened = []
    for operand in (left, right):
        value = _moved(graph, operand, "".join(c for c in letters if c in operand.letters))
        missing = [i for i, c in enumerate(letters) if c not in operand.letters]
        if missing:
            value = graph.emit(relax.op.expand_dims(value.expr, missing))
        widened.append(value)
    return _Operand(graph.emit(relax.op.multiply(*(v.expr for v in widened))), letters)


def _sum_out(graph: Graph, operand: _Operand, needed: set[str]) -> _Operand:
    axes = [i for i, c in enumerate(operand.letters) if c not in needed]
    if not axes:
        return operand
    value = graph.emit(relax.op.sum(operand.value.expr, axes))
    return _Operand(value, "".join(c for c in operand.letters if c in needed))


def _moved(graph: Graph, operand: _Operand, letters: str) -> Value:
    """The operand's value with its axes in this order."""
    if letters == operand.letters:
        return operand.value
    axes = [operand.letters.index(c) for c in letters]
    return graph.emit(relax.op.permute_dims(operand.value.expr, axes))


RULES: Rules = {"einsum": [_rewrite]}
