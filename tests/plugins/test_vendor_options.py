"""Options are checked, and are the same before a model is saved and after."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pydantic
import pytest
from onnx import helper

import byoc
import byoc.plugins.discovery as discovery
from byoc.errors import OptionError
from byoc.plugins.vendor_options import validate_options
from byoc.segment import Artifact
from byoc.vendor import Pattern, PythonRuntime, Vendor

FORBID = pydantic.ConfigDict(extra="forbid", frozen=True)


class Lane(pydantic.BaseModel):
    model_config = FORBID
    width: int = 8
    depth: int = 1


class Mode(enum.Enum):
    FAST = "fast"
    EXACT = "exact"


class Options(pydantic.BaseModel):
    model_config = FORBID
    lane: Lane = Lane()
    lanes: list[Lane] = []
    spare: Lane | None = None
    cache: Path = Path("cache")
    mode: Mode = Mode.FAST
    tile: tuple[int, int] = (4, 4)
    table: dict[int, str] = {}
    budget: float | None = None
    token: pydantic.SecretStr = pydantic.SecretStr("")
    seed: bytes = b""


SEEN: list[dict] = []


def _init(blob, constants, options):
    SEEN.append(options)
    return lambda inputs, outputs: np.copyto(outputs[0], -inputs[0])


def _patterns():
    from tvm.relax.dpl import is_op, wildcard

    return [Pattern("negative", is_op("relax.negative")(wildcard()))]


VENDOR = Vendor(
    name="optional",
    version="1",
    patterns=_patterns,
    compile=lambda segment, options: Artifact(segment.name, segment.vendor, b""),
    runtime=PythonRuntime(_init),
    options=Options,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lane": {"widht": 1}}, "unknown option 'lane.widht': did you mean 'lane.width'"),
        ({"lanes": [{"widht": 1}]}, "unknown option 'lanes.0.widht': did you mean 'lanes.0.width'"),
        ({"spare": {"widht": 1}}, "unknown option 'spare.widht': did you mean 'spare.width'"),
        ({"lnae": {}}, "unknown option 'lnae': did you mean 'lane'"),
        ({"lane": {"width": "x"}}, "lane.width = 'x'"),
        ({"mode": "slow"}, "mode = 'slow': Input should be 'fast' or 'exact'"),
    ],
)
def test_hints_name_the_options_beside_the_wrong_one(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        validate_options(VENDOR, options)


@pytest.mark.parametrize(
    "options",
    [
        {"budget": math.inf},
        {"budget": math.nan},
        {"token": "s3cret"},
        {"seed": b"\xff\x00"},
    ],
)
def test_what_json_cannot_hold_is_refused_at_once(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"would be others once they are saved: {name} = ") as why:
        validate_options(VENDOR, options)
    assert "s3cret" not in str(why.value)


class Renamed(pydantic.BaseModel):
    model_config = FORBID
    level: int = pydantic.Field(0, alias="Level")


def test_options_with_another_name():
    vendor = dataclasses.replace(VENDOR, options=Renamed)
    assert validate_options(vendor, {"Level": 2}).level == 2


def _negative() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_init_sees_the_same_before_and_after_saving(tmp_path, monkeypatch):
    entry = EntryPoint(VENDOR.name, f"{__name__}:VENDOR", discovery.GROUP)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [entry])
    given = {"cache": tmp_path, "mode": Mode.EXACT, "tile": (1, 2), "table": {3: "x"}, "seed": b"a"}
    SEEN.clear()
    exe = byoc.compile(_negative(), vendors={VENDOR: given}, min_segment_ops=1)
    exe(np.ones(3, "float32"))
    exe.save(tmp_path / "m.byoc")
    byoc.load(tmp_path / "m.byoc")(np.ones(3, "float32"))
    before, *_, after = SEEN
    assert before == after
    assert before["cache"] == str(tmp_path) and before["tile"] == [1, 2]
    assert before["table"] == {"3": "x"} and before["mode"] == "exact"
