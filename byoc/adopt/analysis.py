"""All places of a file where a vendor's rewrites apply.

    file ──▶ classes, functions ──read──▶ values ──unify with every rule──▶ matches ──▶ edits

Only values whose operator is that of a rule's root are tried. A place is found once, by the first
rule that fits: rules stand in the order in which their vendor prefers them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from byoc.adopt.edits import Edit, apply
from byoc.adopt.finding import SourceFinding
from byoc.adopt.pattern import SourcePattern, compile_rules
from byoc.adopt.source import ClassSource, Function, SourceFile, SourceProject
from byoc.adopt.statements import FunctionReader, read_function, read_layers
from byoc.adopt.synthesis import synthesise
from byoc.adopt.unify import Unified, unify
from byoc.adopt.usage import Usage
from byoc.adopt.values import Frame, SourceValue
from byoc.vendor import Vendor

__all__ = ["analyse", "changed", "compatible"]


def analyse(
    path: Path,
    vendors: Sequence[Vendor],
    only: str | None = None,
    project: SourceProject | None = None,
) -> list[SourceFinding]:
    """Return what the vendors' rewrites find in a file, from top to bottom.

    Args:
        path: The file.
        vendors: Whose rewrites, the first to claim a place has it.
        only: A class or function; None for all.
        project: Files that are read already.

    Raises:
        InputError: The file is no Python, or has no such class.
        VendorError: A rewrite is none.
    """
    file = (project or SourceProject()).open(path)
    rules = [(v.name, pattern) for v in vendors for pattern in compile_rules(tuple(v.rewrites()))]
    found: dict[tuple[object, ...], SourceFinding] = {}
    claimed: list[tuple[Path, Edit]] = []
    for finding in _findings(file, rules, only):
        edits = [(p, e) for p, es in finding.edits.items() for e in es]
        key = tuple(sorted((str(p), e.start, e.end) for p, e in edits))
        if key in found or any(p == q and e.overlaps(f) for p, e in edits for q, f in claimed):
            continue
        found[key] = finding
        claimed += edits
    return sorted(found.values(), key=lambda f: (str(f.path), f.line, f.rule))


def changed(findings: Sequence[SourceFinding], project: SourceProject) -> dict[Path, bytes]:
    """Return what files hold once findings are written.

    Args:
        findings: None touches what another does.
        project: The files as they are.
    """
    edits: dict[Path, list[Edit]] = {}
    imports: dict[Path, set[str]] = {}
    for finding in findings:
        for path, made in finding.edits.items():
            edits.setdefault(path, []).extend(made)
        for path, lines in finding.imports.items():
            imports.setdefault(path, set()).update(lines)
    return {
        path: apply(project.open(path), made, imports.get(path, ())) for path, made in edits.items()
    }


def compatible(findings: Sequence[SourceFinding]) -> list[SourceFinding]:
    """Return the findings that have a fix, those left out whose edits touch an earlier one's."""
    kept: list[SourceFinding] = []
    for finding in findings:
        mine = [(p, e) for p, es in finding.edits.items() for e in es]
        theirs = [(p, e) for f in kept for p, es in f.edits.items() for e in es]
        if mine and not any(p == q and e.overlaps(f) for p, e in mine for q, f in theirs):
            kept.append(finding)
    return kept


def _findings(
    file: SourceFile, rules: Sequence[tuple[str, SourcePattern]], only: str | None
) -> Iterator[SourceFinding]:
    from byoc.errors import InputError, choices

    names = {*file.classes, *file.functions}
    if only is not None and only not in names:
        raise InputError(
            f"{file.path} has no class or function {only!r}: {choices(only, sorted(names))}"
        )
    for name, owner in file.classes.items():
        if only in (None, name):
            yield from _of_class(owner, rules)
    plain = [rule for rule in rules if not rule[1].layers]
    for name, function in file.functions.items():
        if only in (None, name):
            reader, frame = read_function(function, file)
            yield from _of_function(reader, frame, plain, None, None, function)


def _of_class(
    owner: ClassSource, rules: Sequence[tuple[str, SourcePattern]]
) -> Iterator[SourceFinding]:
    init = read_layers(owner)
    methods: dict[str, tuple[Function, ClassSource]] = {}
    classes = (owner, *owner.bases) if "__init__" in owner.methods else (owner,)
    for defined in reversed(classes):
        for name, method in defined.methods.items():
            if defined.file is owner.file or name == "forward":
                methods[name] = (method, defined)
    for name, (function, defined) in methods.items():
        if name == "__init__" or not any(a.arg == "self" for a in function.args.args[:1]):
            continue
        reader, frame = read_function(function, defined, owner, init.stored)
        yield from _of_function(reader, frame, rules, owner, init, function)


def _of_function(
    reader: FunctionReader, frame: Frame, rules: Sequence[tuple[str, SourcePattern]],
    owner: ClassSource | None, init: FunctionReader | None, function: Function,
) -> Iterator[SourceFinding]:  # fmt: skip
    by_op: dict[str, list[SourceValue]] = {}
    for value in reader.values:
        if value.frame is frame and value.expr is not None:
            by_op.setdefault(value.op, []).append(value)
    usage: Usage | None = None
    known = init.stored if init else {}
    ops = {part.op for v in reader.values for part in (v, *v.args)}
    for vendor, pattern in rules:
        if not pattern.ops <= ops:
            continue
        for root in by_op.get(pattern.roots[0].op, ()):
            for roots, bound in _matches(pattern, root, by_op, known):
                usage = usage or Usage(reader)
                change = synthesise(pattern, roots, bound, reader, frame, usage, owner, init)
                if change is None:
                    continue
                rule = pattern.rule
                yield SourceFinding(
                    path=frame.file.path, line=roots[0].expr.lineno, first=change.first,  # type: ignore[union-attr]
                    rule=rule.name, vendor=vendor, owner=owner.name if owner else "",
                    function=function.name, why=rule.why, note=rule.note,
                    edits={p: tuple(e) for p, e in change.edits.items()},
                    imports={p: frozenset(i) for p, i in change.imports.items()},
                    parameters=change.parameters,
                )  # fmt: skip
                break


def _matches(
    pattern: SourcePattern,
    first: SourceValue,
    by_op: Mapping[str, list[SourceValue]],
    known: Mapping[str, SourceValue],
) -> Iterator[tuple[list[SourceValue], Unified]]:
    """Ways in which a value is the first result, and later ones are the others."""

    def more(
        roots: list[SourceValue], bound: Unified
    ) -> Iterator[tuple[list[SourceValue], Unified]]:
        if len(roots) == len(pattern.roots):
            yield roots, bound
            return
        wanted = pattern.roots[len(roots)]
        for value in by_op.get(wanted.op, []):
            if value not in roots and _place(value) > _place(roots[-1]):
                for also in unify(wanted, value, pattern.layers, known, bound):
                    yield from more([*roots, value], also)
                    break

    for bound in unify(pattern.roots[0], first, pattern.layers, known):
        yield from more([first], bound)


def _place(value: SourceValue) -> tuple[int, int]:
    return value.expr.lineno, value.expr.col_offset  # type: ignore[union-attr]
