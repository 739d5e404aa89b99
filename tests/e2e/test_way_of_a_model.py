"""The way of a model through the house: down, and never back into a room it has left."""

from __future__ import annotations

import sys
from itertools import groupby
from types import FrameType
from typing import Any

import pytest
from layout_rules import room_of

import byoc

PIPELINE = {"compiler", "recipes"}
"""Rooms that only hand a model on; a stage is what they call."""

TOOLS = {"support"}
"""Rooms that no model comes into: checks of single arguments, whoever needs one."""


def stages(call: Any) -> list[str]:
    """Rooms that the pipeline calls once the model is imported, in order, repeats joined."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_back is None:
            return
        caller = frame.f_back.f_globals.get("__name__", "")
        callee = frame.f_globals.get("__name__", "")
        if not (caller.startswith("byoc.") and callee.startswith("byoc.")):
            return
        room = room_of(callee)
        if room_of(caller) in PIPELINE and room not in PIPELINE | TOOLS | {None}:
            found.append(room)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    rooms = [room for room, _ in groupby(found)]
    return rooms[rooms.index("frontends") :]


@pytest.mark.parametrize(
    "options",
    [{}, {"background": True}, {"heal": True}],
    ids=["plain", "background", "heal"],
)
def test_a_model_visits_each_room_once_on_its_way_down(zoo, options):
    path = zoo("branch")
    way = stages(lambda: byoc.compile(path, vendors=["dnnl"], **options).close())
    assert way[0] == "frontends" and way[-1] == "executable"
    assert {"build", "runners"} < set(way)
    assert len(way) == len(set(way)), f"a room is entered again: {' → '.join(way)}"


def test_a_dry_run_ends_with_the_partition(zoo):
    way = stages(lambda: byoc.partition_model(zoo("branch"), vendors=["dnnl"]))
    assert "build" not in way and len(way) == len(set(way)), " → ".join(way)
