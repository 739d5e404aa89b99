"""Findings as text, as SARIF (which code hosts show beside the lines), and changes as a diff."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from byoc.adopt.finding import SourceFinding

__all__ = ["as_diff", "as_lines", "as_sarif"]


def shown(path: Path) -> str:
    """Return a path as seen from here, where it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def as_lines(findings: Sequence[SourceFinding]) -> Iterator[str]:
    """Yield findings for a terminal.

    Args:
        findings: In order.
    """
    for finding in findings:
        where = ".".join(part for part in (finding.owner, finding.function) if part)
        inside = f" in {where}" if where else ""
        vendor = f" ({finding.vendor})" if finding.vendor else ""
        yield f"{shown(finding.path)}:{finding.line}: {finding.rule}{vendor}{inside}: {finding.why}"
        if finding.note:
            yield f"    numbers: {finding.note}"
        for new, made_of in finding.parameters.items():
            yield f"    checkpoint: {new} = {made_of}"
        for reason in finding.reasons:
            if reason.reason != finding.why:
                yield f"    line {reason.line}, {reason.op}: {reason.reason}"
        if finding.checked is not None:
            yield f"    {outcome(finding.checked)}"


def outcome(checked: Mapping[str, Any]) -> str:
    """Return in words what trying a change showed.

    Args:
        checked: The worker's answer.
    """
    if not checked.get("ok"):
        return f"not changed: {checked.get('why')}"
    before, after = _coverage(checked["before"]), _coverage(checked["after"])
    text = f"verified: outputs, gradients and checkpoint equal; {before} → {after}"
    if "seconds" in checked:
        one, other = checked["seconds"]
        text += f"; {one * 1e6:.0f} µs → {other * 1e6:.0f} µs"
    return text


def _coverage(summary: Mapping[str, Any]) -> str:
    if "failed" in summary:
        return f"cannot be exported ({summary['failed']})"
    return (
        f"{summary['kernels']} kernels, {summary['host']} of the host's, "
        f"{summary['share']:.0%} of FLOPs offloaded"
    )


def as_diff(old: Mapping[Path, bytes], new: Mapping[Path, bytes]) -> str:
    """Return changes as a unified diff.

    Args:
        old: What files hold.
        new: What they would hold.
    """
    parts: list[str] = []
    for path, data in sorted(new.items()):
        name = shown(path)
        parts += difflib.unified_diff(
            old[path].decode("utf-8").splitlines(keepends=True),
            data.decode("utf-8").splitlines(keepends=True),
            f"a/{name}",
            f"b/{name}",
        )
    return "".join(parts)


def as_sarif(findings: Sequence[SourceFinding], version: str) -> dict[str, Any]:
    """Return findings as SARIF 2.1.0.

    Args:
        findings: In order.
        version: Of byoc.
    """
    rules = {f.rule: f.why for f in findings}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "byoc adopt",
                        "version": version,
                        "rules": [
                            {"id": rule, "shortDescription": {"text": why}}
                            for rule, why in sorted(rules.items())
                        ],
                    }
                },
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: SourceFinding) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "level": "note",
        "message": {"text": finding.why},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": Path(shown(finding.path)).as_posix()},
                    "region": {"startLine": finding.first, "endLine": finding.line},
                }
            }
        ],
        "properties": {
            "vendor": finding.vendor,
            "parameters": dict(finding.parameters),
            "reasons": [f"line {r.line}, {r.op}: {r.reason}" for r in finding.reasons],
        },
    }
