"""What ``byoc adopt`` finds: a place, a rule, why, and the edits that would change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byoc.adopt.edits import Edit

__all__ = ["Reason", "SourceFinding"]


@dataclass(frozen=True)
class Reason:
    """Why a vendor did not take an op that stems from a line. op: its name in the report."""

    line: int
    op: str
    reason: str


@dataclass(frozen=True)
class SourceFinding:
    """One place whose source a vendor would gain from changing.

    Attributes:
        path: The file.
        line: The line of the result that is computed in another way.
        first: The first line that computes a part of it.
        rule: Name of the rewrite.
        vendor: Whose.
        owner: The class, "" for a function.
        function: The function or method.
        why: What the vendor does today.
        note: When the numbers are others.
        edits: File → changes.
        imports: File → imports that these need.
        parameters: New parameter of the class → what it is made of.
        reasons: What the partitioner says of ops that stem from these lines.
        checked: What trying it showed: coverage before and after, or why it failed.
    """

    path: Path
    line: int
    first: int
    rule: str
    vendor: str
    owner: str
    function: str
    why: str
    note: str = ""
    edits: Mapping[Path, tuple[Edit, ...]] = field(default_factory=dict, hash=False)
    imports: Mapping[Path, frozenset[str]] = field(default_factory=dict, hash=False)
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    reasons: tuple[Reason, ...] = ()
    checked: Mapping[str, Any] | None = field(default=None, hash=False)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "path": str(self.path), "line": self.line, "first": self.first, "rule": self.rule,
            "vendor": self.vendor, "class": self.owner, "function": self.function,
            "why": self.why, "note": self.note, "fix": bool(self.edits),
            "parameters": dict(self.parameters),
            "reasons": [{"line": r.line, "op": r.op, "reason": r.reason} for r in self.reasons],
            "checked": None if self.checked is None else dict(self.checked),
        }  # fmt: skip
