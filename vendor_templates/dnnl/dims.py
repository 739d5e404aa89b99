"""Dimensions that are expressions: parse, compare, evaluate, bind.

A program's dim is an int or an expression over named variables: integers, names, ``+ - * // %``,
parentheses, ``max(a, b)`` and ``min(a, b)``. The runtime learns a variable from an input whose
dim is that bare name, so `bind` rewrites every other input dim into one::

    inputs  [n * 12, 64]   values  [n * 12, 64]  [n, 768]
    bind    [s0, 64]               [s0, 64]      [s0 // 12, 768]
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import lru_cache

from byoc.segment import Dim

__all__ = ["bind", "canonical", "evaluate", "is_legal", "variables"]

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
_FUNCTIONS = ("max", "min")


@lru_cache(maxsize=4096)
def _parse(text: str) -> ast.expr | None:
    """The expression, or None when it is not one that programs may hold."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    return tree if _is_dim(tree) else None


def _is_dim(tree: ast.expr) -> bool:
    match tree:
        case ast.Constant(value=int()) | ast.Name():
            return True
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _is_dim(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _OPERATORS) and _is_dim(left) and _is_dim(right)
        case ast.Call(func=ast.Name(id=name), args=[left, right], keywords=[]):
            return name in _FUNCTIONS and _is_dim(left) and _is_dim(right)
    return False


def is_legal(dim: Dim) -> bool:
    """True for an int, and for an expression the runtime can evaluate."""
    return isinstance(dim, int) or _parse(dim) is not None


def canonical(dim: Dim) -> Dim:
    """The same dim in one spelling: ``"(n*12)"`` is ``"n * 12"``, ``"7"`` is 7.

    Raises:
        ValueError: When `dim` is no expression that programs may hold.

    """
    if isinstance(dim, int):
        return dim
    tree = _parse(dim)
    if tree is None:
        raise ValueError(f"dimension {dim!r} is not an expression over + - * // % max min")
    return tree.value if isinstance(tree, ast.Constant) else ast.unparse(tree)  # type: ignore[return-value]


def variables(dim: Dim) -> frozenset[str]:
    """Names a dim depends on."""
    if isinstance(dim, int):
        return frozenset()
    tree = _parse(dim)
    assert tree is not None
    return frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)) - set(_FUNCTIONS)


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """The dim's value where each variable has the value in `env`.

    Args:
        dim: A legal dim.
        env: A value for every variable of it.

    """
    if isinstance(dim, int):
        return dim
    tree = _parse(dim)
    assert tree is not None
    return _evaluate(tree, env)


def _evaluate(tree: ast.expr, env: Mapping[str, int]) -> int:
    match tree:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return env[name]
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, env)
        case ast.Call(func=ast.Name(id=name), args=[left, right]):
            a, b = _evaluate(left, env), _evaluate(right, env)
            return max(a, b) if name == "max" else min(a, b)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, env), _evaluate(right, env)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return a // b
                case _:
                    return a % b
    raise AssertionError(ast.dump(tree))


def bind(inputs: Iterable[Dim], used: Iterable[Dim]) -> dict[Dim, Dim]:
    """What to write for each dim so that every variable is the bare name of an input's dim.

    Args:
        inputs: The dims of all inputs.
        used: The dims of all values, and of attributes that hold dims.

    Returns:
        New spellings by old ones; dims that are not in it stay as they are.

    Raises:
        ValueError: Naming the dims whose variables no input determines.

    """
    compound = [d for d in dict.fromkeys(inputs) if isinstance(d, str) and not d.isidentifier()]
    known = {d for d in inputs if isinstance(d, str) and d.isidentifier()}
    fresh: dict[Dim, Dim] = {}
    solved: dict[str, ast.expr] = {}
    taken = set().union(known, *(variables(d) for d in used))
    for dim in compound:
        if variables(dim) <= known:
            continue  # determined already: the runtime checks nothing it cannot compute
        name = next(f"s{i}" for i in range(len(taken) + 1) if f"s{i}" not in taken)
        taken.add(name)
        fresh[dim] = name
        tree = _parse(str(dim))
        assert tree is not None
        unknown = variables(dim) - known
        if len(unknown) == 1 and (inverse := _solve(tree, ast.Name(name))) is not None:
            solved.setdefault(next(iter(unknown)), inverse)
    lost: list[str] = []
    for used_dim in dict.fromkeys(used):
        if isinstance(used_dim, int) or used_dim in fresh or variables(used_dim) <= known:
            continue
        if not variables(used_dim) <= known | solved.keys():
            lost.append(used_dim)
            continue
        tree = _parse(used_dim)
        assert tree is not None
        fresh[used_dim] = ast.unparse(_substitute(tree, solved))
    if lost:
        raise ValueError(
            f"dimension(s) {', '.join(sorted(lost))} cannot be computed "
            f"from the shapes of the inputs"
        )
    return fresh


def _solve(tree: ast.expr, value: ast.expr) -> ast.expr | None:
    """The variable in ``v * k``, ``v + k``, ``v - k``, or a chain of these, that gives `value`."""
    match tree:
        case ast.Name():
            return value
        case ast.BinOp(left=inner, op=op, right=ast.Constant() as k):
            pass
        case ast.BinOp(left=ast.Constant() as k, op=ast.Add() | ast.Mult() as op, right=inner):
            pass
        case _:
            return None
    opposite: ast.operator
    match op:
        case ast.Mult():
            opposite = ast.FloorDiv()
        case ast.Add():
            opposite = ast.Sub()
        case ast.Sub():
            opposite = ast.Add()
        case _:
            return None
    return _solve(inner, ast.BinOp(value, opposite, k))


class _Rename(ast.NodeTransformer):
    def __init__(self, table: Mapping[str, ast.expr]) -> None:
        self.table = table

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.table.get(node.id, node)


def _substitute(tree: ast.expr, table: Mapping[str, ast.expr]) -> ast.expr:
    copy = ast.parse(ast.unparse(tree), mode="eval").body
    result = _Rename(table).visit(copy)
    assert isinstance(result, ast.expr)
    return result
