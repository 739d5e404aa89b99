"""Changes of a file's bytes: what no change touches stays as it is, to the byte."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from byoc.adopt.source import SourceFile

__all__ = ["Edit", "alone_on_its_lines", "apply", "indent_of", "removal"]


@dataclass(frozen=True, order=True)
class Edit:
    """Bytes `start` to `end` become `text`."""

    start: int
    end: int
    text: str

    def overlaps(self, other: Edit) -> bool:
        """Return whether two edits touch the same bytes, or insert at one place."""
        if self.start == self.end == other.start == other.end:
            return True
        return self.start < other.end and other.start < self.end


def apply(file: SourceFile, edits: Iterable[Edit], imports: Iterable[str] = ()) -> bytes:
    """Return a file's content with the edits made, and imports added behind those it has.

    Args:
        file: The file.
        edits: None overlaps another.
        imports: Lines; those that the file has are left out.
    """
    newline = "\r\n" if file.lines and file.lines[0].endswith(b"\r\n") else "\n"
    have = set(file.data.decode("utf-8").splitlines())
    wanted = sorted(set(imports) - have)
    data = file.data
    changes = sorted(edits, reverse=True)
    if wanted:
        at = _after_imports(file)
        changes.append(Edit(at, at, "".join(line + newline for line in wanted)))
    for edit in sorted(changes, reverse=True):
        text = edit.text.replace("\r\n", "\n").replace("\n", newline)
        data = data[: edit.start] + text.encode("utf-8") + data[edit.end :]
    return data


def _after_imports(file: SourceFile) -> int:
    """Behind the last import of the first block of imports, else behind the docstring."""
    last = 0
    for number, node in enumerate(file.tree.body):
        docstring = (
            number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )
        if isinstance(node, (ast.Import, ast.ImportFrom)) or docstring:
            last = node.end_lineno or 0
        elif last:
            break
    return file.offset(last + 1, 0)


def alone_on_its_lines(file: SourceFile, node: ast.stmt) -> bool:
    """Return whether nothing but a comment stands on a statement's lines beside it."""
    first, last = file.lines[node.lineno - 1], file.lines[(node.end_lineno or node.lineno) - 1]
    behind = last[node.end_col_offset or 0 :].strip()
    return not first[: node.col_offset].strip() and (not behind or behind.startswith(b"#"))


def removal(file: SourceFile, node: ast.stmt) -> Edit:
    """Return the edit that takes a statement's lines away."""
    return Edit(
        file.offset(node.lineno, 0), file.offset((node.end_lineno or node.lineno) + 1, 0), ""
    )


def indent_of(file: SourceFile, node: ast.stmt) -> str:
    """Return the blanks before a statement."""
    return file.lines[node.lineno - 1][: node.col_offset].decode("utf-8")
