"""Commands that other packages add to ``byoc``, found by entry point and imported when they run.

In: the entry points of the group ``byoc.commands``, each a name and a `typer.Typer` or a function.
Out: commands beside byoc's own. A vendor brings tools for its own files this way, and the command
line names no vendor::

    byoc --help        names and packages, from the metadata of what is installed: no import
    byoc NAME …        import that one, hand it the words

A package whose command cannot be imported costs one line on stderr, never a traceback.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from byoc.cli.common import say
from byoc.cli.parsing import App

__all__ = ["GROUP", "CommandGroup"]

GROUP = "byoc.commands"
"""The entry-point group that packages publish their commands under."""


class CommandGroup(TyperGroup):
    """The command ``byoc`` itself: its own commands, then those of other packages."""

    _found: dict[str, EntryPoint] | None = None

    @property
    def _plugins(self) -> dict[str, EntryPoint]:
        """The commands of other packages; looked for once in each call of the command line."""
        if self._found is None:
            self._found = _find(set(self.commands))
        return self._found

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, byoc's own first."""
        return [*super().list_commands(ctx), *self._plugins]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; one of another package is not imported yet.

        Args:
            ctx: The context of click.
            cmd_name: The name as the user typed it.

        Returns:
            The command, or None when there is none of this name.
        """
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = self._plugins.get(cmd_name)
        return None if entry is None else _PluginCommand(entry)


class _PluginCommand(TyperCommand):
    """Stands for a command of another package until it is called."""

    def __init__(self, entry: EntryPoint) -> None:
        text = f"Commands of {_origin(entry)}; see `byoc {entry.name} --help`."
        super().__init__(entry.name, help=text, short_help=text, rich_help_panel="Plugins")
        self._entry = entry

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Import the command; from here on it parses and runs for itself.

        Raises:
            typer.Exit: It cannot be imported; the reason has been said (status 1).
        """
        try:
            command = _as_command(self._entry.load())
        except Exception as error:  # a broken package must not break byoc
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            say(
                f"warning: the command {self._entry.name!r} of {_origin(self._entry)} cannot be "
                f"loaded from {self._entry.value}: {reason}"
            )
            raise typer.Exit(1) from None
        return command.make_context(info_name, args, parent=parent, **extra)


def _as_command(value: Any) -> Any:
    """What an entry point names, as a command."""
    if isinstance(value, typer.Typer):
        return get_command(value)
    if callable(value):
        app = App(add_completion=False)
        app.command()(value)
        return get_command(app)
    raise TypeError(f"expected a typer.Typer or a function, found {type(value).__name__}")


def _find(taken: set[str]) -> dict[str, EntryPoint]:
    """Name → entry point; of two of one name the first counts, and the other is said."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        if entry.name in taken:
            say(f"warning: {_origin(entry)} offers {entry.name!r}, a command of byoc; left out")
        elif (known := found.setdefault(entry.name, entry)).value != entry.value:
            say(
                f"warning: the command {entry.name!r} is offered twice, by {_origin(known)} and "
                f"{_origin(entry)}; the first is taken"
            )
    return found


def _origin(entry: EntryPoint) -> str:
    return f"package {entry.dist.name}" if entry.dist else entry.value
