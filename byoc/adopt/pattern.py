"""Rules in the form in which they are looked for: the values of `Rewrite.before`, and its roots.

A parameter of a rule's function, and of its ``__init__``, stands for any value; its annotation
narrows that: "number" (Python numbers only) or "constant" (made of the module's own tensors, not of
its inputs).
"""

from __future__ import annotations

import ast
import functools
import textwrap
from dataclasses import dataclass
from pathlib import Path

from byoc.adopt.source import SourceFile, SourceProject
from byoc.adopt.statements import FunctionReader, read_function, read_layers
from byoc.adopt.values import SourceValue, walk
from byoc.errors import InputError, VendorError
from byoc.vendor import Rewrite

__all__ = ["Replacement", "SourcePattern", "compile_rules"]

_IMPORTS = "import math\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"


@dataclass(frozen=True, eq=False)
class Replacement:
    """What is written instead.

    Attributes:
        layers: New attribute → the constructor's call.
        result: The expression that gives all the results.
    """

    layers: dict[str, ast.expr]
    result: ast.expr


@dataclass(frozen=True, eq=False)
class SourcePattern:
    """A rule that can be looked for.

    Attributes:
        rule: What the vendor wrote.
        roots: The values that it gives, in order.
        layers: Attribute → what ``__init__`` says of it.
        ops: The operators of its values.
        after: What is written instead.
    """

    rule: Rewrite
    roots: tuple[SourceValue, ...]
    layers: dict[str, SourceValue]
    ops: frozenset[str]
    after: Replacement


@functools.lru_cache(maxsize=64)
def compile_rules(rules: tuple[Rewrite, ...]) -> tuple[SourcePattern, ...]:
    """Return rules as patterns.

    Args:
        rules: As vendors give them.

    Raises:
        VendorError: A rule is no Python, or none that can be read; written for the vendor's author.
    """
    return tuple(_compiled(rule) for rule in rules)


def _file(text: str) -> SourceFile:
    data = (_IMPORTS + textwrap.dedent(text)).encode()
    return SourceFile(Path("rule.py"), data, SourceProject())


def _compiled(rule: Rewrite) -> SourcePattern:
    try:
        before, after = _file(rule.before), _file(rule.after)
    except InputError as error:
        raise VendorError(f"vendor author: rewrite {rule.name!r}: {error}") from error
    reader, returns, layers = _read(before, rule)
    assert reader is not None
    roots = returns.args if returns.op == "tuple" else (returns,)
    ops = frozenset(v.op for root in roots for v in walk(root)) - {"input", "const", "self", "attr"}
    return SourcePattern(rule, roots, layers, ops, _plan(after, rule))


def _read(
    file: SourceFile, rule: Rewrite
) -> tuple[FunctionReader, SourceValue, dict[str, SourceValue]]:
    if file.classes:
        owner = next(iter(file.classes.values()))
        layers = read_layers(owner).stored
        found = owner.method("forward")
        if found is not None:
            reader, frame = read_function(found[0], owner, owner, layers)
            if frame.returns:
                return reader, frame.returns[0], layers
    elif file.functions:
        reader, frame = read_function(next(iter(file.functions.values())), file)
        if frame.returns:
            return reader, frame.returns[0], {}
    raise VendorError(
        f"vendor author: rewrite {rule.name!r}: `before` and `after` are a function that returns, "
        f"or a class with __init__ and forward"
    )


def _forward(file: SourceFile) -> ast.FunctionDef | ast.AsyncFunctionDef:
    if file.classes:
        return next(iter(file.classes.values())).methods["forward"]
    return next(iter(file.functions.values()))


def _plan(file: SourceFile, rule: Rewrite) -> Replacement:
    forward = _forward(file).body[-1]
    if not isinstance(forward, ast.Return) or forward.value is None or len(_forward(file).body) > 1:
        raise VendorError(
            f"vendor author: rewrite {rule.name!r}: `after` is one expression that is returned"
        )
    layers = {}
    if file.classes:
        for node in next(iter(file.classes.values())).methods["__init__"].body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                layers[node.targets[0].attr] = node.value
    return Replacement(layers, forward.value)
