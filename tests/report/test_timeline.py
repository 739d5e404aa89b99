"""The timeline of a profile: what the page embeds, and what a browser makes of it."""

import json
import re
from dataclasses import replace

import pytest
from browser import MISSING, chromium, open_page
from profiles import NASTY, long_profile, small_profile
from reports import full_report
from test_page import unpack

from byoc.errors import ArtifactError
from byoc.report.render.html import render_html
from byoc.report.render.timeline import timeline_data

browser = pytest.mark.skipif(chromium() is None, reason=MISSING)


def unpacked(data):
    """The tasks of every request as the page's script sees them (times.js)."""
    tasks = unpack(data["tasks"])
    for request, times in enumerate(data["requests"]):
        for k, start in enumerate(times["start"]):
            fixed = tasks[times["which"][k] if times["which"] else k]
            yield {
                **fixed, "request": request, "start": start, "stop": start + times["length"][k],
                "waited": times["waited"][k], "critical": [request, k] in data["critical"],
            }  # fmt: skip


@pytest.mark.parametrize("profile", [small_profile(), long_profile(40, 3)], ids=["small", "long"])
def test_nothing_is_lost_on_the_way_to_the_page(profile):
    data = json.loads(json.dumps(timeline_data(profile)))
    found = {(t["request"], t["task"]): t for t in unpacked(data)}
    assert len(found) == len(profile.tasks)
    for task in profile.tasks:
        shown = found[task.request, task.task]
        for name, value in shown.items():
            expected = getattr(task, name)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), name
    assert data["processors"][0]["name"] == "cpu"
    for processor in data["processors"]:
        assert processor["busy"] == profile.busy()[processor["name"]]
    path = [(r, data["requests"][r]["start"][k]) for r, k in data["critical"]]
    assert [start for _, start in path] == sorted(start for _, start in path)
    assert data["end"] == max(end for _, _, end in profile.requests)


def test_requests_that_took_different_tasks():
    profile = long_profile(6, 2)
    odd = replace(profile, tasks=tuple(t for t in profile.tasks if (t.request, t.task) != (1, 2)))
    data = timeline_data(odd)
    assert data["requests"][0]["which"] is None
    assert data["requests"][1]["which"] == [0, 1, 3, 4, 5]
    assert {(t["request"], t["task"]) for t in unpacked(data)} == {
        (t.request, t.task) for t in odd.tasks
    }


def test_a_page_without_a_profile_has_none():
    assert '"profile":null' in render_html(full_report())


def test_writing_fails_with_a_reason(tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot write the report to .*No such file"):
        small_profile().to_html(tmp_path / "absent" / "r.html")
    assert not list(tmp_path.iterdir())


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("timeline") / "t.html"
    small_profile().to_html(path)
    return path


@browser
def test_it_opens_on_the_timeline(alone):
    shown = open_page(alone)
    assert shown.check["errors"] == []
    assert shown.check["tab"] == "timeline"
    assert shown.check["lit"] == {"tasks": 4, "joined": 0, "arrows": 2, "path": 3}
    panel = shown.part("run-panel")
    for words in (
        "90 µs 1 request",
        "85 µs in 3 tasks on the critical path",
        "5 µs between those tasks",
        "cpu busy 27.8 %, idle 72.2 %",
        "npu busy 72.2 %, idle 27.8 %",
        "tasks waited 2 µs; 2 KiB read at borders",
        "npu 72.2 % 65 µs",
    ):
        assert words in panel, panel
    assert shown.part("tabs") == "Timeline Tasks 4"
    assert "<title>Profile</title>" in shown.dom


@browser
def test_a_chosen_task_tells_all(alone):
    shown = open_page(alone, "tab=timeline&task=2")
    assert (shown.check["errors"], shown.check["task"]) == ([], 2)
    assert shown.check["lit"]["arrows"] > 2  # its own dependencies as well
    panel = shown.part("run-panel")
    for words in (
        "pool",
        "waited 2 µs",
        "read at borders 2 KiB",
        "critical path on it",
        "npu_0 · 0 npu, elsewhere, 40 µs",
        "relu · 1 cpu, 5 µs",
        "Read by npu_1 · 3",
        "pool1",
    ):
        assert words in panel, panel


@browser
def test_the_table_of_tasks_and_the_search(alone):
    shown = open_page(alone, "tab=tasks")
    table = shown.part("view-table")
    for words in ("Tasks (4)", "fc, bias", "in 1 of 1", "44.4 %"):
        assert words in table, table
    found = open_page(alone, "tab=tasks&find=pool")
    assert "1 found" in found.part("hits") and "Tasks (1)" in found.part("view-table")
    assert "2 found" in open_page(alone, "tab=timeline&place=npu").part("hits")


@browser
def test_with_the_report(tmp_path):
    full_report().to_html(tmp_path / "r.html", long_profile(30, 3))
    shown = open_page(tmp_path / "r.html")
    assert (shown.check["errors"], shown.check["tab"]) == ([], "timeline")
    assert shown.check["lit"]["tasks"] == 90
    assert "Graph" in shown.part("tabs") and "Timeline" in shown.part("tabs")
    graph = open_page(tmp_path / "r.html", "tab=graph")
    assert (graph.check["tab"], graph.check["drawn"]["blocks"]) == ("graph", 3)
    assert open_page(tmp_path / "r.html", "op=0").check["tab"] == "graph"


@browser
def test_names_are_never_markup(tmp_path):
    profile = small_profile()
    image = "<img src=x onerror=document.title='broken'>"
    tasks = tuple(replace(t, name=image, source=(NASTY, image)) for t in profile.tasks)
    replace(profile, model=NASTY, tasks=tasks).to_html(tmp_path / "r.html")
    for fragment in ("tab=timeline&task=0", "tab=tasks"):
        shown = open_page(tmp_path / "r.html", fragment)
        assert shown.check["errors"] == []
        assert "<img" not in shown.dom.replace("\\u003cimg", "")
        assert "<title>Profile</title>" in shown.dom


@browser
@pytest.mark.parametrize("size", ["360,640", "1920,1080"])
def test_other_windows(alone, size):
    shown = open_page(alone, "", f"--window-size={size}")
    assert (shown.check["errors"], shown.check["lit"]["tasks"]) == ([], 4)


@browser
def test_a_profile_without_tasks_opens(tmp_path):
    replace(small_profile(), tasks=()).to_html(tmp_path / "r.html")
    assert open_page(tmp_path / "r.html").check["errors"] == []


@browser
def test_5000_tasks_open(tmp_path):
    path = tmp_path / "long.html"
    long_profile(5_000, requests=4).to_html(path)
    assert path.stat().st_size < 2e6
    shown = open_page(path, patience=600)
    assert shown.check["errors"] == []
    lit = shown.check["lit"]
    assert lit["tasks"] == 20_000 and lit["joined"] > 10_000
    near = open_page(path, "tab=timeline&request=2&task=2500", patience=600)
    assert near.check["task"] == 2500 and 0 < near.check["lit"]["tasks"] < 200
    assert re.search(r"request 2\b", near.part("run-panel"))
