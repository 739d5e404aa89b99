"""What several commands share: argument types, the options file, output and progress.

In: words of the command line. Out: arguments of `byoc.compile`, tables and JSON on stdout, remarks
and progress on stderr. An argument that several commands take is defined once here, so that it has
the same name and help everywhere.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from byoc.cli.parsing import output_file
from byoc.errors import FallbackWarning, OptionError, choices
from byoc.support.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from byoc.partition import PartitionReport

__all__ = [
    "MODEL_HELP",
    "Budget",
    "Dims",
    "Isolate",
    "Json",
    "LockFile",
    "LockedFile",
    "ModelOrArtifact",
    "ModelPath",
    "OnnxPath",
    "OptionsFile",
    "ParamsFile",
    "Placement",
    "PolicyFile",
    "Threads",
    "TrustedKey",
    "Vendors",
    "compile_options",
    "harmless_output",
    "isolated",
    "names",
    "parse_dims",
    "placement_options",
    "plain_warnings",
    "print_json",
    "print_table",
    "progress",
    "say",
    "set_threads",
    "show",
    "warn",
]

MODEL_HELP = "A model file: ONNX, TFLite, PyTorch (.pt2 of torch.export) or Relay."
"""What MODEL may be: every file format that `byoc.frontends.import_model` reads."""

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)]
"""A model in any format byoc reads."""

OnnxPath = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)
]
"""A model for commands that hand the file itself to ONNX tools."""

ModelOrArtifact = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL|OUT.byoc", help=f"{MODEL_HELP} Or a compiled model.", show_default=False
    ),
]
"""A model in any format byoc reads, or one that is compiled already."""

Vendors = Annotated[
    list[str] | None,
    typer.Option(
        "--vendors",
        metavar="A,B",
        help="Vendors to offload to; on a conflict the earlier wins. Given twice, they add up. "
        "Without any, everything runs on the host.",
        show_default=False,
    ),
]
OptionsFile = Annotated[
    Path | None,
    typer.Option(
        "--options",
        metavar="FILE",
        help="YAML: `vendors: {name: {option: value}}`, min_segment_ops, min_segment_flops.",
        show_default=False,
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params",
        metavar="FILE",
        help="Parameters of a Relay model, as TVM's save_param_dict wrote them.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads (default: all).", show_default=False),
]
TrustedKey = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="PUB.pem",
        help="Refuse the file unless it is signed with this ed25519 key.",
        show_default=False,
    ),
]
Isolate = Annotated[
    str | None,
    typer.Option(
        "--isolate",
        metavar="A,B",
        help="Vendors to run out of process, where a crash takes nothing else down; `all`, `none`.",
        show_default=False,
    ),
]
Dims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim",
        metavar="NAME=N",
        help="Size of a symbolic dimension; the model is compiled for it alone.",
        show_default=False,
    ),
]
Placement = Annotated[
    str | None,
    typer.Option(
        "--placement",
        metavar="NAME",
        help="Who gets an op that several could take: order (the earlier vendor), model (least "
        "predicted time), measured (least measured time; builds and times). Default: order.",
        show_default=False,
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="YAML: rules that prefer, exclude or force a vendor; limits of segments.",
        show_default=False,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="How long placement 'measured' may take: 60s, 2m.",
        show_default=False,
    ),
]
LockFile = Annotated[
    Path | None,
    typer.Option(
        "--lock",
        metavar="FILE",
        help="Write the placement to this file.",
        show_default=False,
        callback=output_file,
    ),
]
LockedFile = Annotated[
    Path | None,
    typer.Option(
        "--locked",
        metavar="FILE",
        help="Place every op as this lock says; without --vendors, on the vendors it names.",
        show_default=False,
    ),
]

_LAYOUT = "\n\t"
_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")

_LIMITS = {"min_segment_ops": int, "min_segment_flops": (int, float)}


def names(text: str | list[str]) -> list[str]:
    """Return the names in ``a,b``, or in several of such texts."""
    texts = [text] if isinstance(text, str) else text
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def isolated(text: str | None) -> bool | list[str] | None:
    """Return ``--isolate`` as `byoc.compile` and `byoc.load` take it."""
    if text in ("all", "none"):
        return text == "all"
    return None if text is None else names(text)


def parse_dims(dims: list[str] | None) -> dict[str, int]:
    """Return ``["batch=3"]`` as a mapping.

    Raises:
        typer.BadParameter: A text is no NAME=N with N > 0 (wrong usage, exit status 2).
    """
    sizes = {}
    for text in dims or []:
        name, _, size = text.partition("=")
        if not name or not size.isdecimal() or int(size) < 1:
            raise typer.BadParameter(f"--dim takes NAME=N with N > 0, found {text!r}")
        sizes[name] = int(size)
    return sizes


def compile_options(
    vendors: str | list[str] | None, file: Path | None, locked: Path | None = None
) -> dict[str, Any]:
    """Return keyword arguments for `byoc.compile` from ``--vendors`` and ``--options``.

    Args:
        vendors: Names, separated by commas.
        file: An options file. It may choose the vendors, too; `vendors` wins and then takes their
            options from it.
        locked: A lock, which names the vendors where neither of the others does.

    Raises:
        OptionError: The file cannot be read or holds unknown keys.
        LockError: The lock cannot be read.
        typer.BadParameter: A vendor is named twice.
    """
    content = _read_options(file) if file else {}
    configured = content.pop("vendors", {})
    chosen = names(vendors) if vendors is not None else list(configured)
    if vendors is None and not chosen and locked is not None:
        from byoc.placement.lock import read_lock

        chosen = list(read_lock(locked).vendors)
    if len(set(chosen)) != len(chosen):
        raise typer.BadParameter(f"--vendors names one twice: {', '.join(chosen)}")
    unused = [name for name in configured if name not in chosen]
    if unused:
        say(f"{file}: options of {', '.join(unused)} are not used (not among --vendors)")
    if not chosen:
        say("no vendors: everything runs on the host (see `byoc vendors`)")
    return {"vendors": {name: configured.get(name) or {} for name in chosen}, **content}


def placement_options(
    placement: str | None,
    policy: Path | None,
    *,
    budget: str | None = None,
    dims: Mapping[str, int] | None = None,
    lock: Path | None = None,
    locked: Path | None = None,
) -> dict[str, Any]:
    """Return keyword arguments for `byoc.compile` for the placement options that were given.

    Args:
        placement: Name of a placement strategy.
        policy: A policy file.
        budget: How long measuring may take, as text.
        dims: Sizes of symbolic dimensions.
        lock: Where to write the lock.
        locked: The lock to obey.

    Raises:
        typer.BadParameter: Options exclude each other.
    """
    if locked is not None and placement is not None:
        raise typer.BadParameter("--locked is a placement: give it or --placement")
    if budget is not None and placement != "measured":
        raise typer.BadParameter("--budget belongs to --placement measured")
    given = {
        "placement": placement,
        "policy": policy,
        "budget": budget,
        "dims": dims or None,
        "lock": lock,
        "locked": locked,
    }
    return {key: value for key, value in given.items() if value is not None}


def _read_options(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"cannot read the options file {file}: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{file}: expected a mapping, found {type(content).__name__}")
    legal = ["vendors", *_LIMITS]
    for key, value in content.items():
        if key not in legal:
            raise OptionError(f"{file}: unknown key {key!r}: {choices(str(key), legal)}")
        kind: Any = _LIMITS.get(key, dict)
        if not isinstance(value, kind) or isinstance(value, bool):
            expected = "a mapping" if kind is dict else "a number"
            raise OptionError(f"{file}: {key} must be {expected}, found {value!r}")
    for name, options in content.get("vendors", {}).items():
        if options is not None and not isinstance(options, dict):
            raise OptionError(f"{file}: options of vendor {name!r} must be a mapping")
    return content


def set_threads(threads: int | None) -> int:
    """Set the size of byoc's thread pool when one is given.

    Returns:
        The size in force: `threads`, else that of the environment (BYOC_NUM_THREADS,
        OMP_NUM_THREADS), else the number of CPUs.
    """
    from byoc.runtime import num_threads, set_num_threads

    if threads:
        set_num_threads(threads)
    return num_threads()


def print_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print a result on stdout, as JSON."""
    print(json.dumps(value, indent=2))


def print_table(table: Table) -> None:
    """Print a table on stdout; a file or pipe gets it without line breaks."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 1000
    Console(highlight=False, markup=False, width=width).print(table)


def warn(report: PartitionReport) -> None:
    """Print the warnings of a report on stderr, but for those that were printed already."""
    from byoc.timing.progress import was_said

    for warning in report.warnings:
        if not was_said(warning):
            say(f"warning: {warning}")


def say(text: str) -> None:
    """Print a remark on stderr; control characters of names in it are spelled out."""
    print(f"byoc: {printable(text, keep=_LAYOUT)}", file=sys.stderr)


def show(*lines: str) -> None:
    """Print lines on stdout; control characters of names in them are spelled out."""
    print("\n".join(map(printable, lines)))


class _Harmless:
    """A text stream that spells out control characters, but for line breaks and colours."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        pieces = _COLOUR.split(text)  # colours are every other piece
        colours = self._stream.isatty()
        self._stream.write(
            "".join(
                piece if number % 2 and colours else printable(piece, keep=_LAYOUT)
                for number, piece in enumerate(pieces)
            )
        )
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Let nothing that is printed on stdout control a terminal: names come out of files."""
    before = sys.stdout
    sys.stdout = cast("IO[str]", _Harmless(before))
    try:
        yield
    finally:
        sys.stdout = before


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print what byoc warns of as a remark on stderr, not as Python does, with a line of source."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, FallbackWarning):
            from byoc.timing.progress import note_said

            note_said(str(message))
            say(f"warning: {message}")
        else:
            before(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show on stderr that `text` is going on, once it takes more than a second.

    A spinner on a terminal, else one line; a last line tells how long it took.
    """
    start = time.perf_counter()
    spinner: list[Any] = []

    def show() -> None:
        if sys.stderr.isatty():
            from rich.console import Console

            status = Console(stderr=True).status(f"{text} …")
            status.start()
            spinner.append(status)
        else:
            say(f"{text} …")

    timer = threading.Timer(1.0, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for status in spinner:
            status.stop()
    elapsed = time.perf_counter() - start
    if elapsed > 1:
        say(f"{text}: {elapsed:.1f} s")
