"""No exception but byoc's own reaches a user: failures within byoc, arguments of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import byoc
from byoc.errors import ByocError, InternalError
from byoc.frontends import formats
from byoc.recipes import plain
from byoc.runtime import Session

ODD: tuple[Any, ...] = (
    5, -1, 1.5, float("nan"), "zzz", b"x", [], [5], {}, {"a": 1}, {1: 2}, None, object(), len, True,
    ("a",),
)  # fmt: skip
"""What is hardly ever a legal argument."""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        "clipped (float[n, 4] x) => (float[n, 4] y) { [relu] y = Relu(x) }"
    )


@pytest.fixture(scope="module")
def exe(model: onnx.ModelProto) -> byoc.Executable:
    return byoc.compile(model, [])


def refusal(call: Callable[[], Any]) -> str:
    """What byoc says of a call; empty where it is legal. Other exceptions go on."""
    try:
        call()
    except InternalError as error:
        raise AssertionError("a wrong argument is no bug of byoc's") from error
    except ByocError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "name",
    ["vendors", "placement", "policy", "costs", "budget", "dims", "lock", "locked", "heal",
     "min_segment_ops", "min_segment_flops", "isolate", "background", "specialise", "params"],
)  # fmt: skip
def test_every_option_refuses_what_it_does_not_take(
    model: onnx.ModelProto, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a lock may be written
    for value in ODD:
        refusal(lambda value=value: byoc.compile(model, **{name: value}))  # type: ignore[misc]
    if name not in ("placement", "policy"):  # which look for a name or a file
        assert name in refusal(lambda: byoc.compile(model, **{name: object()}))  # type: ignore[arg-type]


def test_an_executable_and_a_file_refuse_arguments_by_name(
    exe: byoc.Executable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.zeros((2, 4), "float32")
    calls: dict[str, Callable[[Any], Any]] = {
        "inputs": lambda v: list(exe.map(v)),
        "deadline": lambda v: exe.submit(x, deadline=v).result(),
        "timeout": lambda v: exe.submit(x, timeout=v).result(),
        "requests": lambda v: exe.profile(x, requests=v),
        "warmup": lambda v: exe.profile(x, warmup=v),
        "max_in_flight": lambda v: setattr(exe, "max_in_flight", v),
        "path": lambda v: exe.save(v),
        "": lambda v: (exe(v), exe.run(v)),
    }
    for name, call in calls.items():
        for value in ODD:
            refusal(lambda value=value, call=call: call(value))  # type: ignore[misc]
        assert name in refusal(lambda call=call: call(object()))  # type: ignore[misc]
    assert refusal(lambda: byoc.load(5)).startswith("path must be")  # type: ignore[arg-type]
    exe.max_in_flight = 2
    assert len(list(exe.map([x] * 5))) == 5, "refused requests keep no permits"


class Unreadable:
    """An input whose class fails in its own way."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **_: Any) -> Any:
        raise ZeroDivisionError("not today")


def test_an_input_that_cannot_be_read_is_told_by_its_name(exe: byoc.Executable) -> None:
    with pytest.raises(byoc.InputError, match="input 'x' cannot be read .*not today"):
        exe(Unreadable())


class Broken:
    """What fails as code with a bug does."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self.error


def failing_stages(model: onnx.ModelProto, exe: byoc.Executable) -> dict[str, Callable[[], Any]]:
    x = np.zeros((2, 4), "float32")
    return {
        "compiling": lambda: byoc.compile(model),
        "running": lambda: exe(x),
        "running by name": lambda: exe.run({"x": x}),
        "running later": lambda: exe.submit(x).result(),
        "running many": lambda: list(exe.map([x])),
        "running for asyncio": lambda: asyncio.run(exe.acall(x)),
        "running in a profile": lambda: exe.profile(x),
        "saving": lambda: exe.save("model.byoc"),
    }


def break_everything(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from byoc import executable
    from byoc.runtime.ports import Inputs

    monkeypatch.setattr(plain, "partition", Broken(error))
    monkeypatch.setattr(Session, "run_checked", Broken(error))
    monkeypatch.setattr(Inputs, "results", Broken(error))
    monkeypatch.setattr(executable, "save_program", Broken(error))


@pytest.mark.parametrize("error", [ValueError('Cannot find global var "main"'), KeyError(7)])
def test_a_bug_of_byoc_is_told_as_one(
    model: onnx.ModelProto,
    exe: byoc.Executable,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    calls = failing_stages(model, exe)
    break_everything(monkeypatch, error)
    for stage, call in calls.items():
        with pytest.raises(InternalError) as told:
            call()
        said = str(told.value)
        assert said.startswith(f"model 'clipped': byoc failed while {stage.split()[0]} it, in byoc")
        assert f"{type(error).__name__}: " in said and "bug of byoc" in said
        assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError("no room")])
def test_what_ends_a_process_or_fills_the_memory_stays_as_it_is(
    model: onnx.ModelProto,
    exe: byoc.Executable,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    calls = failing_stages(model, exe)
    break_everything(monkeypatch, error)
    for stage in ("compiling", "running", "saving"):
        with pytest.raises(type(error)) as told:
            calls[stage]()
        assert told.value is error


def test_a_bug_of_a_frontend_names_the_file(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = formats.Frontend("ONNX", lambda _: True, Broken(IndexError("none")))
    monkeypatch.setattr(formats, "FRONTENDS", (broken,))
    path = tmp_path / "m.onnx"
    with pytest.raises(InternalError, match=r"m\.onnx': byoc failed while importing it"):
        byoc.compile(path)
