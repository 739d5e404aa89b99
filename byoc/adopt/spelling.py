"""How a value is written elsewhere in its function: by a name that holds it, or as it was."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping

from byoc.adopt.source import SourceFile, names_in
from byoc.adopt.values import Frame, SourceValue

__all__ = ["fill", "imported", "spell"]

_MODULES = {"F": "torch.nn.functional", "nn": "torch.nn", "torch": "torch", "math": "math"}
"""What rules call the modules they use."""


def spell(value: SourceValue, names: Mapping[str, SourceValue], frame: Frame) -> str | None:
    """Return source that gives a value; None where there is none.

    Args:
        value: The value.
        names: What local names hold where it is to be written.
        frame: The function that they are local to.
    """
    for name, held in names.items():
        if held is value:
            return name
    if value.op == "const":
        return repr(value.detail) if value.expr is None else frame.file.text(value.expr)
    if isinstance(value.expr, ast.expr) and value.frame is not None:
        reads = [(n, value.frame.reads.get(id(n))) for n in names_in(value.expr)]
        if value.frame is frame and all(names.get(n.id) is v for n, v in reads if v is not None):
            text = frame.file.text(value.expr)
            return ast.unparse(value.expr) if "\n" in text else text
        if value.frame is not frame and value.frame.file is frame.file:
            return _moved(value, names, frame)
    if value.op == "attr" and isinstance(value.detail, str):
        base = spell(value.args[0], names, frame)
        return None if base is None else f"{wrapped(base)}.{value.detail}"
    return None


def _moved(value: SourceValue, names: Mapping[str, SourceValue], frame: Frame) -> str | None:
    """An expression of another function, its local names written as their values are here."""
    assert isinstance(value.expr, ast.expr)
    assert value.frame is not None
    reads = value.frame.reads
    copied = copy.deepcopy(value.expr)
    spelled: dict[int, str] = {}
    for old, new in zip(ast.walk(value.expr), ast.walk(copied), strict=True):
        if isinstance(old, ast.Name) and id(old) in reads:
            text = spell(reads[id(old)], names, frame)
            if text is None:
                return None
            spelled[id(new)] = text

    class Written(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            if id(node) not in spelled:
                return node
            return ast.parse(spelled[id(node)], mode="eval").body

    return ast.unparse(Written().visit(copied))


def wrapped(text: str) -> str:
    """Return source in parentheses, where it is more than a name, a call or the like."""
    node = ast.parse(text, mode="eval").body
    atom = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant, ast.List)
    return text if isinstance(node, atom) and not text.startswith("-") else f"({text})"


def imported(module: str, file: SourceFile, taken: Iterable[str]) -> tuple[str, str]:
    """Return what a file calls a module, and the import that it lacks ("" for none).

    Args:
        module: What rules call it.
        file: The file.
        taken: Local names where it is used.
    """
    full, best = _MODULES[module], ""
    for alias, (level, target) in file.imports.items():
        if level or alias in taken:
            continue
        if target == full:
            return alias, ""
        if full.startswith(f"{target}."):
            longer = f"{alias}.{full[len(target) + 1 :]}"
            best = min(best or longer, longer, key=len)
    if best:
        return best, ""
    used = {*file.imports, *file.classes, *file.functions, *taken}
    if module in used:
        return full, f"import {full}"
    short = full.split(".")[-1] == module
    parent = full.rpartition(".")[0]
    return module, f"import {full}" if short and not parent else f"import {full} as {module}"


def fill(
    template: ast.expr, spelled: dict[str, str], attributes: dict[str, str], file: SourceFile,
    taken: Iterable[str], defaults: Iterable[str] = (),
) -> tuple[str, set[str]]:  # fmt: skip
    """Return an expression of a rule in the words of a file, and the imports that it needs.

    Args:
        template: The expression.
        spelled: Parameter of the rule → source.
        attributes: Layer of the rule → attribute of the class.
        file: The file.
        taken: Local names where it is used.
        defaults: Parameters that the source leaves out: so does the result.
    """
    imports: set[str] = set()
    marks: dict[str, str] = {}
    left_out = set(defaults)

    class Filled(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            kept = [k for k in node.keywords
                    if not (isinstance(k.value, ast.Name) and k.value.id in left_out)]  # fmt: skip
            return self.generic_visit(ast.Call(node.func, node.args, kept))

        def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                return ast.Attribute(node.value, attributes.get(node.attr, node.attr), node.ctx)
            return self.generic_visit(node)

        def visit_Name(self, node: ast.Name) -> ast.AST:
            if node.id in spelled:
                text = spelled[node.id]
            elif node.id in _MODULES:
                text, needed = imported(node.id, file, taken)
                imports.update({needed} - {""})
            else:
                return node
            mark = f"mark_{len(marks)}_of_a_rule"
            marks[mark] = text
            return ast.Name(mark, node.ctx)

    copied = ast.parse(ast.unparse(template), mode="eval").body
    filled = Filled().visit(copied)
    alone = {id(c) for node in ast.walk(filled) if isinstance(node, ast.Call)
             for c in (*node.args, *(k.value for k in node.keywords))}  # fmt: skip
    free = {n.id for n in ast.walk(filled) if isinstance(n, ast.Name) and id(n) in alone}
    text = ast.unparse(filled)
    for mark, source in marks.items():
        text = text.replace(mark, source if mark in free else wrapped(source))
    return text, imports
