"""Parameters of an old version of a model, as its new version names and joins them.

{"qkv.weight": "concat(q.weight, k.weight, v.weight)"}     concat: along the first axis
{"l.weight": "unsqueeze(l.weight, -1)"}                    unsqueeze: a new axis
{"ls.weight": "concat(ls.*.weight)"}                       *: of every layer of a list, in order
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["Migration", "migrate", "migrate_file"]


@dataclass(frozen=True)
class Migration:
    """What becomes of the parameters of a class, wherever a model has parts of it.

    Attributes:
        prefixes: Of the names of such parts.
        parameters: New name → what it is made of.
    """

    prefixes: Sequence[str]
    parameters: Mapping[str, str]


def migrate(state: Mapping[str, Any], changes: Sequence[Migration]) -> dict[str, Any]:
    """Return a state dict, or gradients by name, of the new version.

    Args:
        state: Of the old version.
        changes: In the order in which they were made.
    """
    made = dict(state)
    for change in changes:
        for prefix in change.prefixes:
            used: set[str] = set()
            new = {}
            for name, formula in change.parameters.items():
                values = _value(_parsed(formula), prefix, made, used)
                if values:
                    new[prefix + name] = values[0]
            for name in used:
                del made[name]
            made.update(new)
    return made


def migrate_file(old: str, new: str, changes: Sequence[Migration]) -> None:
    """Write a checkpoint of the new version.

    Args:
        old: A state dict, as ``torch.save`` wrote it.
        new: Where to.
        changes: See `migrate`.
    """
    state = torch.load(Path(old), weights_only=True, map_location="cpu")
    torch.save(migrate(state, changes), Path(new))


def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula.replace(".*.", ".every."), mode="eval").body


def _value(node: ast.expr, prefix: str, state: Mapping[str, Any], used: set[str]) -> list[Any]:
    """The tensors that a formula names; none where the old version has none, as without bias."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "concat":
            parts = [v for a in node.args for v in _value(a, prefix, state, used)]
            return [torch.cat(parts)] if parts else []
        if node.func.id == "unsqueeze":
            axis = ast.literal_eval(node.args[1])
            return [v.unsqueeze(axis) for v in _value(node.args[0], prefix, state, used)]
    name = prefix + ast.unparse(node)
    if ".every." in name:
        start, end = name.split(".every.")
        whole = re.compile(rf"{re.escape(start)}\.(\d+)\.{re.escape(end)}")
        found = [(int(m[1]), key) for key in state if (m := whole.fullmatch(key))]
        names = [key for _, key in sorted(found)]
    else:
        names = [name] if name in state else []
    used.update(names)
    return [state[key] for key in names]
