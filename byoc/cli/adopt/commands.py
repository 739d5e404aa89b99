"""``byoc adopt``: what in a model's source keeps it from offloading well, and its change."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import Json, names, print_json, progress, say, show
from byoc.cli.parsing import App
from byoc.errors import InputError

if TYPE_CHECKING:
    from byoc.adopt import SourceFinding
    from byoc.adopt.trial import Trial
    from byoc.vendor import Vendor

__all__ = ["app"]

app = App(no_args_is_help=True, help="Change a PyTorch model's source so that it offloads.")

_WORKER = "byoc.integrations.source_versions"

_Path = Annotated[
    str,
    typer.Argument(
        metavar="PATH[:NAME]", show_default=False,
        help="A file of PyTorch source, one class or function of it, or a folder (check only).",
    ),
]  # fmt: skip
_Vendors = Annotated[
    list[str],
    typer.Option("--vendors", metavar="A,B", help="Whose rewrites.", show_default=False),
]
_Build = Annotated[
    str | None,
    typer.Option(
        "--build", metavar="EXPR", show_default=False,
        help="Python that builds the model, in the names of the file: 'Block(64, heads=4)'. "
        "It runs the file, in a process of its own.",
    ),
]  # fmt: skip
_Call = Annotated[
    str | None,
    typer.Option(
        "--call", metavar="EXPR", show_default=False,
        help="Python for the arguments of its forward: 'torch.randn(2, 16, 64)'.",
    ),
]  # fmt: skip


@app.command()
def check(
    path: _Path,
    vendors: _Vendors,
    build: _Build = None,
    call: _Call = None,
    json: Json = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Write SARIF 2.1.0.")] = False,
) -> None:
    """Tell which lines vendors would gain from changing; nothing is imported, run or written.

    With --build and --call the model runs in a process of its own, and each finding has what the
    partitioner says of its lines. Exit status 1 when something is found.
    """
    from byoc.adopt import analyse

    file, only = _split(path)
    chosen = _vendors(vendors)
    findings: list[SourceFinding] = []
    with progress(f"reading {file}"):
        for each in _files(file):
            try:
                findings += analyse(each, chosen, only)
            except InputError as error:
                if not file.is_dir():
                    raise
                say(f"warning: {error}")
    trial = _trial(file, build, call, chosen)
    if trial is not None:
        from byoc.adopt.trial import with_reasons

        with trial:
            findings = with_reasons(findings, trial)
    _print(findings, json, sarif)
    if findings:
        raise typer.Exit(1)


@app.command()
def fix(
    path: _Path,
    vendors: _Vendors,
    build: _Build = None,
    call: _Call = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the changes.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Change the files.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take changes that were not tried.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time both versions, compiled, with their inputs.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", metavar="OLD.pt", help="A state dict to migrate.", show_default=False
        ),
    ] = None,
    migrated: Annotated[
        Path | None,
        typer.Option(
            "--migrated", metavar="NEW.pt", help="Where to, only once.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change the source where that keeps outputs, gradients and checkpoints as they are.

    Both versions are imported, built and run in a process of their own, with equal weights, in
    train and in eval mode; what differs, or was not reached by the example, stays as it is. Exit
    status 1 when a finding was not changed.
    """
    from byoc.adopt.render import as_diff
    from byoc.adopt.trial import write_plan

    if diff == write:
        raise typer.BadParameter("give --diff, which prints the changes, or --write")
    if unverified == (build is not None):
        raise typer.BadParameter("give --build and --call to try the changes, or --unverified")
    if (checkpoint is None) != (migrated is None):
        raise typer.BadParameter("--checkpoint and --migrated belong together")
    file, only = _split(path)
    if file.is_dir():
        raise InputError(f"{file} is a folder; fix takes a file")
    if migrated is not None and migrated.exists():
        raise InputError(f"{migrated} exists; a checkpoint is never written over another file")
    chosen = _vendors(vendors)
    more = {
        "measure": measure,
        "checkpoint": str(checkpoint or ""),
        "migrated": str(migrated or ""),
    }
    trial = _trial(file, build, call, chosen)
    try:
        with progress(f"trying changes of {file}"):
            files, findings, _ = write_plan(
                file.resolve(), chosen, only, trial, **{k: v for k, v in more.items() if v}
            )
    finally:
        if trial is not None:
            trial.close()
    old = {changed: changed.read_bytes() for changed in files}
    if write:
        from byoc.support.files import atomic_write

        for changed, data in files.items():
            with atomic_write(changed) as stream:
                stream.write(data)
    if diff and not json:
        print(as_diff(old, files), end="")
    if json:
        print_json({"findings": [f.as_json() for f in findings], "diff": as_diff(old, files)})
    else:
        from byoc.adopt.render import as_lines

        for line in as_lines(findings):
            say(line)
    if any(f.checked is not None and not f.checked["ok"] for f in findings):
        raise typer.Exit(1)


def _split(text: str) -> tuple[Path, str | None]:
    path, colon, name = text.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else (Path(text), None)


def _files(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        yield from sorted(p for p in path.rglob("*.py") if p.is_file())
    else:
        yield path


def _vendors(texts: list[str]) -> list[Vendor]:
    from byoc.plugins.discovery import find

    chosen = [find(name) for name in names(texts)]
    without = [vendor.name for vendor in chosen if not tuple(vendor.rewrites())]
    if without:
        say(f"without rewrites of their own: {', '.join(without)}")
    return chosen


def _trial(
    file: Path, build: str | None, call: str | None, vendors: Sequence[Vendor]
) -> Trial | None:
    if build is None and call is None:
        return None
    if build is None or call is None:
        raise typer.BadParameter("--build and --call belong together")
    if file.is_dir():
        raise InputError(f"{file} is a folder; --build takes a file")
    from byoc.adopt.trial import Trial

    return Trial(_WORKER, file, build, call, [vendor.name for vendor in vendors])


def _print(findings: list[SourceFinding], json: bool, sarif: bool) -> None:
    from byoc.adopt.render import as_lines, as_sarif

    if sarif:
        from importlib.metadata import version

        print(json_text.dumps(as_sarif(findings, version("tvm-byoc")), indent=2))
    elif json:
        print_json([finding.as_json() for finding in findings])
    else:
        count = len(findings)
        show(*as_lines(findings), f"{count} finding{'' if count == 1 else 's'}")
