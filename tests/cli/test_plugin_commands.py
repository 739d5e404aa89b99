"""Commands of other packages: found by entry point, imported when called, harmless when broken."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import typer

from byoc.cli.parsing import plugin_commands

GROUP, MODULE = plugin_commands.GROUP, plugin_commands.__name__
hello = typer.Typer(no_args_is_help=True)


@hello.command("world")
def world(times: int = 1) -> None:
    """Greet."""
    print("hello " * times)


@hello.command("other")
def other() -> None:
    """Do something else."""


def greet(name: str) -> None:
    """Greet one."""
    print(f"hello {name}")


@pytest.fixture
def offer(monkeypatch):
    """``offer(name="module:attribute")``: these are the commands of other packages."""

    def set_entries(*entries):
        found = [EntryPoint(name, value, GROUP) for name, value in entries]
        monkeypatch.setattr(plugin_commands, "entry_points", lambda group: found)

    return set_entries


def test_the_commands_of_a_typer_app(cli, offer):
    offer(("hello", f"{__name__}:hello"))
    listed = cli("--help")
    assert listed.status == 0 and listed.err == ""
    assert "hello" in listed.out and "byoc hello --help" in listed.out
    assert "world" in cli("hello", "--help").out
    assert cli("hello", "world", "--times", 2).out == "hello hello \n"
    wrong = cli("hello", "world", "--times", "many")
    assert wrong.status == 2 and "Error" in wrong.err


def test_a_function_is_one_command(cli, offer):
    offer(("greet", f"{__name__}:greet"))
    assert cli("greet", "you").out == "hello you\n"
    assert cli("greet").status == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module_at_all:app", "No module named 'no_such_module_at_all'"),
        (f"{MODULE}:no_such_app", "no_such_app"),
        (
            f"{MODULE}:GROUP",
            "expected a typer.Typer or a function, found str",
        ),
    ],
)
def test_a_broken_one_costs_one_line(cli, offer, value, reason):
    offer(("broken", value))
    assert cli("--help").status == 0
    assert cli("vendors").status == 0
    called = cli("broken", "--help")
    assert called.status == 1 and called.out == ""
    (line,) = called.err.splitlines()
    assert line.startswith("byoc: warning: the command 'broken' of ")
    assert value in line and reason in line


def test_byoc_s_own_commands_are_not_replaced(cli, offer):
    offer(("vendors", f"{__name__}:greet"), ("twice", "a:b"), ("twice", f"{__name__}:greet"))
    shown = cli("vendors", "--json")
    assert shown.status == 0 and shown.json()
    warned = cli("--help").err
    assert warned.count("a command of byoc; left out") == 1
    assert warned.count("the command 'twice' is offered twice") == 1


def test_an_unknown_command_is_wrong_usage(cli, offer):
    offer(("hello", f"{__name__}:hello"))
    assert cli("helo").status == 2


def test_help_does_not_import_them():
    code = (
        "import sys; sys.argv = ['byoc', '--help']\n"
        "from byoc.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith('byoc.vendor_templates')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert " npu " in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
