"""``byoc partition``: where would each op go, and why? Nothing is built."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import (
    MODEL_HELP,
    Dims,
    Json,
    LockedFile,
    LockFile,
    OptionsFile,
    ParamsFile,
    Placement,
    PolicyFile,
    Vendors,
    compile_options,
    parse_dims,
    placement_options,
    print_json,
    progress,
    say,
    warn,
)
from byoc.cli.parsing import output_file

if TYPE_CHECKING:
    from byoc.partition import PartitionReport, PartitionResult

__all__ = ["partition"]


def partition(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)
    ] = None,
    vendors: Vendors = None,
    options: OptionsFile = None,
    params: ParamsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    why: Annotated[
        list[str] | None,
        typer.Option(
            "--why",
            metavar="OP",
            help="Only tell why this op is where it is: its name, or #N. Repeatable.",
            show_default=False,
        ),
    ] = None,
    what_if: Annotated[
        bool,
        typer.Option("--what-if", help="Only tell what vendors would gain by supporting more."),
    ] = False,
    patterns: Annotated[
        bool,
        typer.Option(
            "--patterns", help="Only tell what became of each pattern: for authors of vendors."
        ),
    ] = False,
    lock: LockFile = None,
    locked: LockedFile = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Also write the report as HTML.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Also list every op.")] = False,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--diff",
            metavar="OLD NEW",
            help="Instead of a model: what changed between two locks.",
            show_default=False,
        ),
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(
            "--max-regression",
            metavar="PCT",
            help="With --diff: exit 1 when NEW is predicted slower by more (5%).",
            show_default=False,
        ),
    ] = None,
    dim: Dims = None,
    json: Json = False,
) -> None:
    """Split MODEL and show the segments, the coverage and each vendor's reasons; build nothing.

    With --diff, compare two locks instead.
    """
    if diff is not None:
        others = (model, vendors, options, params, placement, policy, why, lock, locked, html, dim)
        if any(value is not None for value in others) or what_if or ops or patterns:
            raise typer.BadParameter("--diff compares two locks: only --max-regression and --json")
        _diff(*diff, max_regression, json)
        return
    if max_regression is not None:
        raise typer.BadParameter("--max-regression belongs to --diff OLD NEW")
    if patterns and (why or what_if):
        raise typer.BadParameter("--patterns is asked for alone, without --why and --what-if")
    if model is None:
        raise typer.BadParameter("give a MODEL, or two locks: --diff OLD NEW")
    dims = parse_dims(dim)
    chosen = placement_options(placement, policy, dims=dims, lock=lock, locked=locked)
    arguments = compile_options(vendors, options, locked)

    import byoc

    with progress(f"partitioning {model}"):
        result = byoc.partition_model(model, params=params, **arguments, **chosen)
    report = result.report
    if what_if or html is not None:
        from byoc.partition import what_if as suppose

        with progress("supposing that vendors took more"):
            report = suppose(result)
    if html is not None:
        report.to_html(html)
    for path in (lock, html):
        if path is not None:
            say(f"wrote {path}")
    warn(report)
    if patterns:
        _patterns(result, json)
    elif why or what_if:
        _answer(report, why or [], what_if, json)
    else:
        print(report.to_json() if json else report.table(ops=ops))


def _patterns(result: PartitionResult, json: bool) -> None:
    """The answer to --patterns."""
    from byoc.partition import pattern_use

    uses = pattern_use(result)
    if json:
        print_json({"patterns": [asdict(use) for use in uses]})
        return
    lines: list[tuple[str, ...]] = [("pattern", "taken", "accepted", "refused", "")]
    for use in uses:
        counts = map(str, (use.taken, use.accepted, use.refused))
        lines.append((f"{use.vendor}.{use.pattern}", *counts, use.text))
    width = max(len(line[0]) for line in lines)
    for name, taken, accepted, refused, text in lines:
        print(f"{name:<{width}}  {taken:>5}  {accepted:>8}  {refused:>7}  {text}".rstrip())


def _answer(report: PartitionReport, why: list[str], what_if: bool, json: bool) -> None:
    """The answers to --why and --what-if."""
    if json:
        from byoc.report.render.why import find_ops

        answer: dict[str, object] = {}
        if why:
            answer["why"] = [
                {**asdict(op), "text": report.why(f"#{op.index}")}
                for name in why
                for op in find_ops(report, name)
            ]
        if what_if:
            answer["what_if"] = [asdict(found) for found in report.counterfactuals]
        print_json(answer)
        return
    answers = [report.why(name) for name in why]
    if what_if:
        lines = [found.text for found in report.counterfactuals]
        answers.append(
            "\n".join(lines) or "what if: no vendor would gain by taking more of the host's ops"
        )
    print("\n\n".join(answers))


def _diff(old: Path, new: Path, max_regression: str | None, json: bool) -> None:
    """Compare two locks; exit 1 past the regression allowed."""
    from byoc.errors import OptionError
    from byoc.placement.lock import read_lock
    from byoc.placement.lock_diff import diff_locks, parse_percent

    try:
        allowed = None if max_regression is None else parse_percent(max_regression)
    except OptionError as error:
        raise typer.BadParameter(f"--max-regression: {error}") from None
    found = diff_locks(read_lock(old), read_lock(new))
    over = allowed is not None and found.exceeds(allowed)
    if json:
        print_json({**found.to_dict(), "max_regression_percent": allowed, "ok": not over})
    else:
        print(found.text())
    if over:
        assert allowed is not None and found.regression is not None
        say(f"{new}: predicted {found.regression:.1f} % slower than {old}, allowed {allowed:g} %")
        raise typer.Exit(1)
