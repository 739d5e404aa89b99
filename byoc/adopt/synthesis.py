"""From a match to edits: the new expression, new layers, and the statements that can go.

A match that cannot be written down without a doubt gives no finding: names that are bound anew in
between, results in several branches, layers that others use, effects that would move.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from byoc.adopt.edits import Edit, alone_on_its_lines, indent_of, removal
from byoc.adopt.pattern import SourcePattern
from byoc.adopt.source import ClassSource, SourceFile
from byoc.adopt.spelling import fill, spell
from byoc.adopt.statements import FunctionReader
from byoc.adopt.unify import Unified
from byoc.adopt.usage import Usage, simple_statements
from byoc.adopt.values import Frame, SourceValue

__all__ = ["SourceChange", "synthesise"]


@dataclass
class SourceChange:
    """Edits by file, imports by file, the checkpoint's new parameters, the first line involved."""

    edits: dict[Path, list[Edit]]
    imports: dict[Path, set[str]]
    parameters: dict[str, str]
    first: int


_LINE = 100  # columns


class _NoWayError(Exception):
    pass


def synthesise(
    pattern: SourcePattern, roots: Sequence[SourceValue], bound: Unified, reader: FunctionReader,
    frame: Frame, usage: Usage, owner: ClassSource | None, init: FunctionReader | None,
) -> SourceChange | None:  # fmt: skip
    """Return the edits that make a match what the rule says; None where there is no sure way.

    Args:
        pattern: The rule.
        roots: The values of its results.
        bound: What its parts stand for.
        reader: The function, read.
        frame: The same.
        usage: Who uses which of its values.
        owner: The class.
        init: Its ``__init__``, read.
    """
    try:
        return _Synthesis(pattern, roots, bound, reader, frame, usage, owner, init).change()
    except _NoWayError:
        return None


class _Synthesis:
    def __init__(
        self, pattern: SourcePattern, roots: Sequence[SourceValue], bound: Unified,
        reader: FunctionReader, frame: Frame, usage: Usage, owner: ClassSource | None,
        init: FunctionReader | None,
    ) -> None:  # fmt: skip
        self._pattern, self._roots, self._bound = pattern, roots, bound
        self._reader, self._frame, self._usage = reader, frame, usage
        self._owner, self._init = owner, init
        self._values = {id(v): v for v in reader.values}
        self._change = SourceChange({}, {}, {}, 0)
        self._going: list[ast.stmt] = []  # statements that must go, for names to hold what is said

    def change(self) -> SourceChange:
        roots = frozenset(id(r) for r in self._roots)
        self._check_place(roots)
        attributes = self._layers()
        homes = {id(n): id(b) for n, b in simple_statements(self._frame.function.body)}
        statements = [r.statement for r in self._roots if r.statement is not None]
        if len({homes.get(id(s)) for s in statements}) != 1:
            raise _NoWayError  # in several branches
        first = min(statements, key=lambda s: s.lineno)
        spelled, kept = self._spelled(self._pattern.after.result, first, self._frame)
        text, imports = fill(
            self._pattern.after.result, spelled, attributes, self._frame.file, self._local_names()
        )
        self._need(self._frame.file, imports)
        if len(self._roots) == 1:
            self._replace(self._roots[0], text)
        else:
            self._replace_all(text, first)
        self._remove(kept, statements)
        mine = [v.expr for v in self._values.values()
                if id(v) in self._bound.inside and v.frame is self._frame]  # fmt: skip
        self._change.first = min(e.lineno for e in mine if isinstance(e, (ast.expr, ast.stmt)))
        return self._change

    def _check_place(self, roots: frozenset[int]) -> None:
        inside = self._bound.inside
        for root in self._roots:
            if root.frame is not self._frame or root.expr is None or root.statement is None:
                raise _NoWayError
            if id(root) not in self._usage.reached:
                raise _NoWayError
        for key in inside:
            value = self._values.get(key)
            if value is not None and value.context != self._roots[0].context:
                raise _NoWayError
        if not self._usage.only_inside(inside, roots):
            raise _NoWayError
        feeds = self._pattern.rule.feeds
        for root in self._roots:
            users = self._usage.users.get(id(root), [])
            if feeds and (id(root) in self._usage.ends or any(u.op not in feeds for u in users)):
                raise _NoWayError

    def _local_names(self) -> set[str]:
        nodes = list(ast.walk(self._frame.function))
        stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        return stored | {a.arg for a in nodes if isinstance(a, ast.arg)}

    def _need(self, file: SourceFile, imports: set[str]) -> None:
        self._change.imports.setdefault(file.path, set()).update(imports)

    def _edit(self, file: SourceFile, edit: Edit) -> None:
        self._change.edits.setdefault(file.path, []).append(edit)

    def _spelled(
        self, template: ast.expr, at: ast.stmt, frame: Frame
    ) -> tuple[dict[str, str], list[SourceValue]]:
        spelled, kept = {}, []
        for node in ast.walk(template):
            if isinstance(node, ast.Name) and node.id in self._bound.inputs:
                value = self._bound.inputs[node.id]
                text = spell(value, self._names(at, frame), frame)
                if text is None:
                    raise _NoWayError
                spelled[node.id] = text
                kept.append(value)
        return spelled, kept

    def _names(self, at: ast.stmt, frame: Frame) -> dict[str, SourceValue]:
        """What names hold before a statement, those that only the match has changed as they were.

        ``x = x - mean`` goes, when only the match reads the new x: x is the old one again.
        """
        names = dict(frame.before.get(id(at), {}))
        for name, held in names.items():
            while id(held) in self._bound.inside and held.statement is not None:
                earlier = frame.before.get(id(held.statement), {}).get(name)
                if earlier is None or earlier is held:
                    break
                self._going.append(held.statement)
                names[name] = held = earlier
        return names

    def _span(self, file: SourceFile, node: ast.AST) -> tuple[int, int]:
        return (
            file.offset(node.lineno, node.col_offset),  # type: ignore[attr-defined]
            file.offset(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def _replace(self, root: SourceValue, text: str) -> None:
        file, expr, statement = self._frame.file, root.expr, root.statement
        assert expr is not None and statement is not None
        if isinstance(expr, ast.AugAssign):
            text = f"{file.text(expr.target)} = {text}"
        elif not isinstance(expr, ast.expr):
            raise _NoWayError
        elif getattr(statement, "value", None) is not expr:
            atom = isinstance(
                ast.parse(text, mode="eval").body, (ast.Call, ast.Attribute, ast.Subscript)
            )
            text = text if atom else f"({text})"
        if "#" in file.text(expr) and "\n" in file.text(expr):
            raise _NoWayError  # a comment would be lost
        self._edit(file, Edit(*self._span(file, expr), _folded(text, file, expr)))

    def _replace_all(self, text: str, first: ast.stmt) -> None:
        """Several results: one statement gives them all, where the first was computed."""
        file = self._frame.file
        if not alone_on_its_lines(file, first):
            raise _NoWayError
        if self._is_tuple(first):
            assert isinstance(first, ast.Assign)
            self._edit(file, Edit(*self._span(file, first.value), text))
            return
        names = self._assigned_names(first)
        if names is not None:
            self._edit(file, Edit(*self._span(file, first), f"{', '.join(names)} = {text}"))
            for root in self._roots:
                if root.statement is not first:
                    assert root.statement is not None
                    self._edit(file, removal(file, root.statement))
            return
        taken, names = self._local_names() | set(file.imports), []
        for number, root in enumerate(self._roots):
            name = root.detail if isinstance(root.detail, str) else f"part_{number}"
            while name in taken:
                name += "_"
            taken.add(name)
            names.append(name)
        at = file.offset(first.lineno, 0)
        line = f"{indent_of(file, first)}{', '.join(names)} = {text}\n"
        self._edit(file, Edit(at, at, line))
        for root, name in zip(self._roots, names, strict=True):
            assert root.expr is not None
            self._edit(file, Edit(*self._span(file, root.expr), name))

    def _is_tuple(self, first: ast.stmt) -> bool:
        """Whether a statement is ``a, b, c = first, second, third``, and no more."""
        if not (isinstance(first, ast.Assign) and isinstance(first.value, ast.Tuple)):
            return False
        roots = [id(root.expr) for root in self._roots]
        return [id(e) for e in first.value.elts] == roots

    def _assigned_names(self, first: ast.stmt) -> list[str] | None:
        """The names that results are given to, where all can be given to them at the first."""
        names, statements = [], []
        for root in self._roots:
            node = root.statement
            if not (isinstance(node, ast.Assign) and node.value is root.expr):
                return None
            target = node.targets[0]
            if len(node.targets) > 1 or not isinstance(target, ast.Name):
                return None
            if not alone_on_its_lines(self._frame.file, node):
                return None
            names.append(target.id)
            statements.append(node)
        body = next(b for n, b in simple_statements(self._frame.function.body) if n is first)
        between = body[body.index(first) : body.index(statements[-1])]
        others = [node for node in between if not any(node is s for s in statements)]
        used = {n.id for node in others for n in ast.walk(node) if isinstance(n, ast.Name)}
        if used & set(names[1:]):
            return None  # they mean what the name held before
        return names if len(set(names)) == len(names) else None

    def _remove(self, kept: list[SourceValue], fixed: list[ast.stmt]) -> None:
        needed = self._usage.needed(self._roots, kept)
        gone = self._usage.removable(self._frame, needed, self._bound.inside, fixed)
        if any(not any(node is g for g in gone) for node in self._going):
            raise _NoWayError
        for node in gone:
            if not alone_on_its_lines(self._frame.file, node):
                raise _NoWayError
            self._edit(self._frame.file, removal(self._frame.file, node))
        bodies: dict[int, tuple[list[ast.stmt], int]] = {}
        for node, body in simple_statements(self._frame.function.body):
            size, count = bodies.get(id(body), (body, 0))
            bodies[id(body)] = (size, count + any(node is g for g in gone))
        inner = {id(c) for g in gone for c, _ in simple_statements([g]) if c is not g}
        for body, count in bodies.values():
            if count == len(body) and id(body[0]) not in inner:
                raise _NoWayError  # nothing would be left of a branch

    # Layers.

    def _layers(self) -> dict[str, str]:
        """Write the layers of the rule in ``__init__``; return layer of the rule → attribute."""
        bound = self._bound.layers
        if not bound:
            return {}
        if self._owner is None or self._init is None:
            raise _NoWayError
        places = []
        for attribute in bound.values():
            place = self._init.places.get(attribute)
            if place is None:
                raise _NoWayError
            places.append(place)
        frames = {id(frame): frame for _, frame in places}
        if len(frames) != 1:
            raise _NoWayError
        frame = next(iter(frames.values()))
        statements = {id(node): node for node, _ in places}
        for node in statements.values():
            self._check_store(node, frame)
        self._check_accesses(list(statements.values()))
        attributes = self._new_names()
        self._write_layers(frame, list(statements.values()), attributes)
        for name, made_of in self._pattern.rule.parameters.items():
            layer, _, rest = name.partition(".")
            source = re.sub(r"\b(\w+)(?=\.)", lambda m: bound.get(m[1], m[1]), made_of)
            self._change.parameters[f"{attributes[layer]}.{rest}"] = source
        return {**bound, **attributes}

    def _check_store(self, node: ast.stmt, frame: Frame) -> None:
        """Whether a statement does nothing but define layers that the match uses."""
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            raise _NoWayError
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        for part in parts:
            if not (isinstance(part, ast.Attribute) and part.attr in self._bound.layers.values()):
                raise _NoWayError
        if not alone_on_its_lines(frame.file, node):
            raise _NoWayError
        if b"#" in frame.file.data[slice(*self._span(frame.file, node))]:
            raise _NoWayError

    def _check_accesses(self, stores: list[ast.stmt]) -> None:
        """Nobody else uses the layers: no other method, no relative, no string."""
        assert self._owner is not None
        allowed = {id(n) for s in stores for n in ast.walk(s)}
        for key in self._bound.inside:
            value = self._values.get(key)
            if value is not None and value.expr is not None:
                if isinstance(value.expr, ast.Call):
                    allowed.add(id(value.expr.func))
                allowed.add(id(value.expr))
        files = {self._frame.file.path: self._frame.file}
        for owner in (self._owner, *self._owner.bases):
            files[owner.file.path] = owner.file
        for file in files.values():
            relatives = _relatives(self._owner, file)
            for attribute in self._bound.layers.values():
                for owner, own, node in file.accesses.get(attribute, []):
                    if id(node) not in allowed and (not own or owner in relatives):
                        raise _NoWayError
            for owner, _, node in file.accesses.get("__dict__", []):
                if owner in relatives and node is not None:
                    raise _NoWayError
            if _looks_up_by_name(file, relatives):
                raise _NoWayError

    def _new_names(self) -> dict[str, str]:
        """Rule's new layer → attribute: its old name, or one formed like those it replaces."""
        assert self._owner is not None and self._init is not None
        old = list(self._bound.layers.values())
        taken = set(self._init.stored) | set(self._frame.file.accesses)
        names = {}
        for layer in self._pattern.after.layers:
            if layer in self._bound.layers:
                names[layer] = self._bound.layers[layer]
                continue
            tail = _common([name[::-1] for name in old])[::-1]
            tail = tail[tail.index("_") :] if "_" in tail else ""
            head = _common(old)
            head = head[: head.rindex("_") + 1] if "_" in head else ""
            name = f"{head}{layer}{tail}"
            while name in taken:
                name += "_"
            names[layer] = name
            taken.add(name)
        return names

    def _write_layers(
        self, frame: Frame, stores: list[ast.stmt], attributes: Mapping[str, str]
    ) -> None:
        file = frame.file
        first = min(stores, key=lambda s: s.lineno)
        homes = {
            id(b) for n, b in simple_statements(frame.function.body) if any(n is s for s in stores)
        }
        if len(homes) != 1:
            raise _NoWayError
        lines = []
        for layer, constructor in self._pattern.after.layers.items():
            spelled, _ = self._spelled(constructor, first, frame)
            unsaid = [name for name, value in self._bound.inputs.items()
                      if value.op == "const" and value.expr is None]  # fmt: skip
            text, imports = fill(constructor, spelled, {}, file, (), unsaid)
            self._need(file, imports)
            lines.append(f"self.{attributes[layer]} = {text}")
        indent = indent_of(file, first)
        self._edit(file, Edit(*self._span(file, first), f"\n{indent}".join(lines)))
        for node in stores:
            if node is not first:
                self._edit(file, removal(file, node))


def _folded(text: str, file: SourceFile, expr: ast.AST) -> str:
    """A call that is longer than a line, its arguments on a line of their own."""
    line, column = expr.lineno, expr.col_offset  # type: ignore[attr-defined]
    node = ast.parse(text, mode="eval").body
    if column + len(text) <= _LINE or not isinstance(node, ast.Call) or "\n" in text:
        return text
    while isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
        node = node.func.value
    start, end = node.func.end_col_offset or 0, node.end_col_offset or 0
    whole = file.lines[line - 1]
    indent = whole[: len(whole) - len(whole.lstrip())].decode("utf-8")
    inner = f",\n{indent}    ".join(ast.unparse(a) for a in (*node.args, *node.keywords))
    return f"{text[:start]}(\n{indent}    {inner},\n{indent}){text[end:]}"


def _common(names: Sequence[str]) -> str:
    """What names begin with, all of them."""
    end = 0
    while end < min(map(len, names)) and len({name[: end + 1] for name in names}) == 1:
        end += 1
    return names[0][:end]


def _relatives(owner: ClassSource, file: SourceFile) -> set[str | None]:
    """Classes of a file that share a base with a class, or are one of its bases."""
    mine = {owner, *owner.bases}
    found: set[str | None] = {owner.name}
    found.update(o.name for o in file.classes.values() if mine & {o, *o.bases})
    return found


def _looks_up_by_name(file: SourceFile, relatives: set[str | None]) -> bool:
    """Whether a class asks for attributes by names that it computes."""
    for other in file.classes.values():
        if other.name in relatives:
            for node in ast.walk(other.tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                    continue
                looks_up = node.func.id in ("getattr", "setattr") and len(node.args) > 1
                if looks_up and not isinstance(node.args[1], ast.Constant):
                    return True
    return False
