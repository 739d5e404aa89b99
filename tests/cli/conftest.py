"""The command line in this process: quick, and errors keep their tracebacks for pytest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from byoc.cli import main


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """``cli("run", path, "--json")`` → exit status, stdout, stderr."""

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["byoc", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            assert stop.code is None or isinstance(stop.code, int), stop.code
            status = stop.code or 0
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
