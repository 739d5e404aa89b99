"""Files of source: their classes, functions and imports, across the files of one project.

Nothing is imported or run: files are parsed (`ast` keeps exact positions, and is ten times as fast
as a parser that keeps blanks and comments; edits are cut into the text itself, see `edits`).
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from byoc.errors import InputError

_LONGEST = 60  # characters of a string that may name a layer

__all__ = ["ClassSource", "Function", "SourceFile", "SourceProject", "names_in"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
"""A function or method."""


@dataclass(frozen=True, eq=False)
class ClassSource:
    """A class: its name, its tree, the file it is in."""

    name: str
    tree: ast.ClassDef
    file: SourceFile

    @cached_property
    def methods(self) -> dict[str, Function]:
        """Its own methods; a name that is defined twice means the last."""
        return {
            node.name: node
            for node in self.tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }

    @cached_property
    def bases(self) -> tuple[ClassSource, ...]:
        """The classes it inherits from, as far as their source is at hand, nearest first."""
        found: list[ClassSource] = []
        for base in self.tree.bases:
            other = self.file.find_class(base)
            if other is not None and other is not self:
                found += [c for c in (other, *other.bases) if c not in found and c is not self]
        return tuple(found)

    def method(
        self, name: str, after: ClassSource | None = None
    ) -> tuple[Function, ClassSource] | None:
        """Return a method and the class that defines it.

        Args:
            name: The method.
            after: Look behind this class only, as ``super()`` does.
        """
        order = (self, *self.bases)
        start = order.index(after) + 1 if after in order else 0
        for owner in order[start:]:
            if name in owner.methods:
                return owner.methods[name], owner
        return None


class SourceFile:
    """One parsed file."""

    def __init__(self, path: Path, data: bytes, project: SourceProject) -> None:
        self.path = path
        self.data = data
        self.project = project
        self.lines = data.splitlines(keepends=True)
        self.tree = _parse(path, data)
        self.imports: dict[str, tuple[int, str]] = {}
        self.classes: dict[str, ClassSource] = {}
        self.functions: dict[str, Function] = {}
        for node in _top_level(self.tree):
            self._declare(node)

    def _declare(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.imports[alias.asname or top] = (0, alias.name if alias.asname else top)
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            for alias in node.names:
                self.imports[alias.asname or alias.name] = (node.level, start + alias.name)
        elif isinstance(node, ast.ClassDef):
            self.classes[node.name] = ClassSource(node.name, node, self)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.functions[node.name] = node
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, full = node.targets[0], self.qualified(node.value)
            if isinstance(target, ast.Name):
                if full is not None:
                    self.imports[target.id] = (0, full)  # Linear = nn.Linear
                else:
                    self.imports.pop(target.id, None)

    def qualified(self, node: ast.expr) -> str | None:
        """Return the full name that a dotted name means, "torch.nn.Linear"; None for any other."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imports:
            return None
        level, start = self.imports[node.id]
        return "." * level + ".".join([start, *reversed(parts)])

    def find_class(self, node: ast.expr) -> ClassSource | None:
        """Return the class that an expression names, of this file or of one that it imports."""
        if isinstance(node, ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name) and node.id in self.classes:
            return self.classes[node.id]
        full = self.qualified(node)
        return None if full is None else self.project.find_class(full, self.path)

    @cached_property
    def accesses(self) -> dict[str, list[tuple[str | None, bool, ast.AST]]]:
        """Attribute or string → (class that it is in, whether of ``self``, where)."""
        found: dict[str, list[tuple[str | None, bool, ast.AST]]] = {}

        def visit(node: ast.AST, owner: str | None) -> None:
            if isinstance(node, ast.ClassDef):
                owner = node.name
            if isinstance(node, ast.Attribute):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                found.setdefault(node.attr, []).append((owner, own, node))
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and len(text) < _LONGEST:
                for name in text.split("."):
                    found.setdefault(name, []).append((owner, False, node))
            for child in ast.iter_child_nodes(node):
                visit(child, owner)

        visit(self.tree, None)
        return found

    def offset(self, line: int, column: int) -> int:
        """Return the byte at which a position of the syntax tree lies."""
        return self._starts[line - 1] + column

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for line in self.lines:
            starts.append(at)
            at += len(line)
        return [*starts, at]

    def text(self, node: ast.AST) -> str:
        """Return the source of a node, as it is written."""
        start = self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        end = self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return self.data[start:end].decode("utf-8")


class SourceProject:
    """The files that are analysed together.

    Args:
        changed: Path → what to read instead of what the file holds.
    """

    def __init__(self, changed: dict[Path, bytes] | None = None) -> None:
        self.changed = changed or {}
        self._files: dict[Path, SourceFile | None] = {}

    def open(self, path: Path) -> SourceFile:
        """Return a parsed file.

        Raises:
            InputError: It cannot be read, or is no Python.
        """
        path = path.resolve()
        known = self._files.get(path)
        if known is None:
            try:
                data = self.changed[path] if path in self.changed else path.read_bytes()
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror or error}") from error
            known = self._files[path] = SourceFile(path, data, self)
        return known

    def find_class(self, full: str, importer: Path) -> ClassSource | None:
        """Return a class by its full name, as a file imports it; None where there is no source."""
        name = full.lstrip(".")
        level = len(full) - len(name)
        *folders, last = name.split(".")
        if level:
            roots = [importer.parents[min(level, len(importer.parents)) - 1]]
        else:
            roots = list(importer.parents[:4])
        for root in roots:
            for path in (root.joinpath(*folders).with_suffix(".py") if folders else None,
                         root.joinpath(*folders, "__init__.py")):  # fmt: skip
                if path is not None and path != importer and path.is_file():
                    try:
                        return self.open(path).classes.get(last)
                    except InputError:
                        return None
        return None


def _parse(path: Path, data: bytes) -> ast.Module:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        if encoding not in ("utf-8", "utf-8-sig"):
            raise InputError(f"{path} is written in {encoding}, UTF-8 is needed")
        if data.startswith(b"\xef\xbb\xbf"):
            raise InputError(f"{path} begins with a byte order mark, which edits would misplace")
        data.decode("utf-8")
        return ast.parse(data, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is no Python that can be read: {error}") from error


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements of the module, those under ``if`` and ``try`` included."""
    left: list[ast.stmt] = list(reversed(tree.body))
    while left:
        node = left.pop()
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            left += reversed(node.body)


def names_in(node: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that an expression reads."""
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child
