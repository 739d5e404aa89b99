"""How words become a command: options that are given twice, commands of other packages."""

from byoc.cli.parsing.command import Command, output_file

__all__ = ["Command", "output_file"]
