"""What every command of ``byoc`` refuses before it works: an option given twice, a lost output.

In: the words of one command. Out: the command is called, or a usage error (exit status 2). Of an
option that takes one value, command-line libraries keep the last and say nothing; here
``--threads 1 --threads 2`` is refused, and an option that takes several adds them up.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption
from typer.models import CommandFunctionType

__all__ = ["App", "Command", "output_file"]


class Command(TyperCommand):
    """A command whose options count: one that takes a single value is given once."""

    def parse_args(self, ctx: Any, args: Any) -> Any:
        """Read the words of the command.

        Args:
            ctx: The context of click.
            args: The words after the command's name.

        Raises:
            typer.BadParameter: An option that takes one value is given several times.
        """
        words = list(args)
        if words and not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(words))
            for parameter, count in Counter(order).items():
                if count > 1 and isinstance(parameter, TyperOption) and _takes_one(parameter):
                    name = max(parameter.opts, key=len)
                    raise typer.BadParameter(f"{name} is given {count} times, it takes one value")
        return super().parse_args(ctx, words)


class App(typer.Typer):
    """A group of such commands."""

    def command(
        self, name: str | None = None, **more: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Return what makes a function a command of this group.

        Args:
            name: Of the command; None: the function's.
            more: As `typer.Typer.command` takes it.
        """
        return super().command(name, cls=Command, **more)


def _takes_one(option: TyperOption) -> bool:
    return not (option.multiple or option.is_flag or option.count)


def output_file(value: Path | None) -> Path | None:
    """Refuse a path that no file can be written to; the callback of options that name one.

    Args:
        value: What the user gave.

    Returns:
        The same.

    Raises:
        typer.BadParameter: It is a folder, or in no folder that can be written.
    """
    if value is None:
        return None
    folder = value.parent
    if value.is_dir():
        raise typer.BadParameter(f"{value} is a folder; give the path of a file")
    if not folder.is_dir():
        raise typer.BadParameter(f"{value}: there is no folder {folder}")
    if not os.access(value if value.exists() else folder, os.W_OK):
        raise typer.BadParameter(f"{value} cannot be written: permission denied")
    return value
