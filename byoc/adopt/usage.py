"""What a function still needs when some of its values are computed in another way.

A value is needed when the function returns it, stores it, calls with it or tests it, or when it
goes into one that is. Statements that gave names to values that nothing needs any more can go.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from byoc.adopt.statements import FunctionReader
from byoc.adopt.values import Frame, SourceValue

__all__ = ["Usage", "blocks", "simple_statements"]

_EFFECTS = {"call", "layer", "method", "construct"}


class Usage:
    """Who uses which value of a function.

    Args:
        reader: The function, read.
    """

    def __init__(self, reader: FunctionReader) -> None:
        self._reader = reader
        self._sinks = reader.sinks
        self.reached = self._reach(self._sinks, frozenset())
        self.users: dict[int, list[SourceValue]] = {}
        for value in self.reached.values():
            for part in value.args:
                self.users.setdefault(id(part), []).append(value)
        self.ends = {id(v) for v in self._sinks}

    def _reach(self, starts: Iterable[SourceValue], cut: frozenset[int]) -> dict[int, SourceValue]:
        found: dict[int, SourceValue] = {}
        left = list(starts)
        while left:
            value = left.pop()
            if id(value) in found:
                continue
            found[id(value)] = value
            if id(value) not in cut:
                left += value.args
            if id(value) in self._reader.started:
                left.append(self._reader.started[id(value)])
        return found

    def only_inside(self, inside: frozenset[int], roots: frozenset[int]) -> bool:
        """Return whether nothing outside of a match reads what it computes but its results."""
        for key in inside - roots:
            if key in self.ends or any(id(u) not in inside for u in self.users.get(key, [])):
                return False
        return True

    def needed(self, roots: Iterable[SourceValue], kept: Iterable[SourceValue]) -> set[int]:
        """Return the values that are needed once roots are made of the kept values alone."""
        cut = frozenset(id(r) for r in roots)
        return set(self._reach([*self._sinks, *kept], cut))

    def removable(
        self, frame: Frame, needed: set[int], inside: frozenset[int], fixed: Iterable[ast.stmt]
    ) -> list[ast.stmt]:
        """Return the statements that only computed what nothing needs any more, outermost ones.

        Args:
            frame: The function.
            needed: Values that are needed still.
            inside: Values that the match computes: leaving them out changes nothing.
            fixed: Statements that must stay.
        """
        staying = {id(s) for s in fixed} | {
            id(v.statement)
            for v in self._reader.values
            if v.op in _EFFECTS and id(v) not in inside and id(v) not in needed
        }

        def goes(node: ast.stmt) -> bool:
            if id(node) in staying:
                return False
            if isinstance(node, ast.For):
                return not node.orelse and all(map(goes, node.body))
            given = frame.assigned.get(id(node), [])
            if not given or not isinstance(
                node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr)
            ):
                return False
            return all(id(v) not in needed for v in given)

        def was_needed(node: ast.stmt) -> bool:
            return any(
                id(v) in self.reached
                for child, _ in simple_statements([node])
                for v in frame.assigned.get(id(child), [])
            )

        found: list[ast.stmt] = []
        left = list(frame.function.body)
        while left:
            node = left.pop()
            if goes(node) and was_needed(node):
                found.append(node)
            else:
                left += [c for body in blocks(node) for c in body]
        return found


def blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements that a statement holds."""
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if body and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield body
    for handler in getattr(node, "handlers", []):
        yield handler.body


def simple_statements(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, list[ast.stmt]]]:
    """Yield every statement below, with the list that it stands in."""
    for node in body:
        yield node, body
        for inner in blocks(node):
            yield from simple_statements(inner)
