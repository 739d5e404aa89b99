"""How words become a command: options that are given twice, commands of other packages."""

from byoc.cli.parsing.command import App, output_file

__all__ = ["App", "output_file"]
