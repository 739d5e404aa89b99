"""The command line, one file per command: ``byoc partition | compile | run | bench | …``.

Results go to stdout, talk to stderr. Exit status: 0 done, 1 the work failed, 2 wrong usage.
Heavy modules are imported inside the commands, so that ``byoc --help`` is quick. Vendors and other
packages add commands by the entry-point group ``byoc.commands``, see `byoc.cli.parsing`.
"""

from __future__ import annotations

import os
import sys

import typer

from byoc.cli import (
    adopt,
    bench,
    cache,
    check,
    compare,
    config,
    conformance,
    debug,
    inspect,
    new_vendor,
    partition,
    profile,
    quantize,
    run,
    segment,
    sign,
    vendors,
)
from byoc.cli import compile as compile_
from byoc.cli.authoring import dse
from byoc.cli.common import harmless_output, plain_warnings, say
from byoc.cli.parsing import App
from byoc.cli.parsing.plugin_commands import CommandGroup
from byoc.errors import ByocError

__all__ = ["app", "main"]

app = App(
    name="byoc",
    cls=CommandGroup,
    help="Bring Your Own Codegen for a stock apache-tvm.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"byoc {version('tvm-byoc')} (apache-tvm {version('apache-tvm')})")
        raise typer.Exit


@app.callback()
def _byoc(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show versions and exit."
    ),
) -> None:
    pass


app.command("partition")(partition.partition)
app.command("compile")(compile_.compile_model)
app.command("run")(run.run)
app.command("bench")(bench.bench)
app.command("profile")(profile.profile)
app.command("inspect")(inspect.inspect)
app.command("check")(check.check)
app.command("sign")(sign.sign)
app.command("compare")(compare.compare)
app.command("debug")(debug.debug)
app.command("config")(config.config)
app.command("vendors")(vendors.vendors)
app.command("quantize")(quantize.quantize)
app.command("segment")(segment.segment)
app.command("new-vendor")(new_vendor.new_vendor)
app.command("conformance")(conformance.conformance)
app.command("dse")(dse.dse)
app.add_typer(cache.app, name="cache")
app.add_typer(adopt.app, name="adopt")


def main() -> None:
    """Run the command line; errors that byoc raises on purpose become one message on stderr.

    ``BYOC_TRACEBACK=1`` shows where they came from. Exit status: 0 done, 1 the work failed, 2 wrong
    usage.
    """
    try:
        with harmless_output(), plain_warnings():
            app()
    except ByocError as error:
        if os.environ.get("BYOC_TRACEBACK", "") not in ("", "0"):
            raise
        say(f"{type(error).__name__}: {error}")
        sys.exit(1)
    except BrokenPipeError:  # the reader of stdout has gone, as in `byoc … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
