"""The page: what it embeds, how it is laid out, and what a browser makes of it."""

import json
import random
import re
import time
from dataclasses import replace

import pytest
from browser import MISSING, chromium, open_page
from reports import NASTY, full_report, long_report

from byoc.partition import OpRecord, PartitionReport, Refusal
from byoc.report import to_dict
from byoc.report.render.html import page_data, render_html
from byoc.report.render.layout import OP_HEIGHT, OP_WIDTH, layout
from byoc.report.render.pack import pack

browser = pytest.mark.skipif(chromium() is None, reason=MISSING)


def unpack(table):
    """What the page's script does (data.js)."""

    def column(values, n):
        if isinstance(values, list):
            return values
        if "all" in values:
            return [values["all"]] * n
        if "from" in values:
            return list(range(values["from"], values["from"] + n))
        if "of" in values:
            distinct = column(values["of"], 0)
            return [distinct[k] for k in values["at"]]
        rows = iter(unpack(values["rows"]))
        return [[next(rows) for _ in range(length)] for length in values["lengths"]]

    columns = {name: column(values, table["n"]) for name, values in table["columns"].items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "r.html"
    full_report().to_html(path)
    return path


def test_packed_records_are_the_records():
    rng = random.Random(0)
    rows = [
        {
            "index": 7 + k, "same": None, "few": rng.choice(["a", "b"]), "many": f"n{k}",
            "number": rng.choice([0, False, 0.0, 1, True]), "list": [k, k + 1][: k % 3],
            "inner": [{"v": "w", "x": rng.randrange(3)} for _ in range(rng.randrange(3))],
        }
        for k in range(50)
    ]  # fmt: skip
    assert json.dumps(unpack(json.loads(json.dumps(pack(rows))))) == json.dumps(rows)
    assert pack([]) == {"n": 0, "columns": {}}
    assert unpack(pack(rows[:1])) == rows[:1]


def test_the_page_embeds_the_whole_report():
    report = full_report()
    text = render_html(report)
    data = json.loads(re.search(r"^const data = (\{.*\});$", text, re.M)[1])
    whole = to_dict(report)
    for split in whole["splits"]:
        split["text"] = ""  # the page shows the path
    for name, table in data["tables"].items():
        assert unpack(table) == whole[name], name
    assert {**data, **whole, "tables": 0, "layout": 0} == {**data, "tables": 0, "layout": 0} | whole
    assert data == json.loads(json.dumps(page_data(report)))


def test_the_page_needs_nothing_else():
    text = render_html(full_report())
    assert text.count("<script>") == text.count("</script>") == 1
    assert not re.search(r"(src|href)\s*=\s*[\"']|https?://|@import|url\(|fetch\(|XMLHttp", text)
    assert "default-src 'none'" in text
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\(", text)
    assert not re.search(r"/\*(STYLE|SCRIPT|REPORT)\*/", text)


# -- layout ----------------------------------------------------------------------------------------


def overlapping(boxes):
    """Pairs of rectangles (x, y, w, h) that overlap; by a sweep."""
    found, active = [], []
    for box in sorted(boxes):
        active = [other for other in active if other[0] + other[2] > box[0]]
        found += [(o, box) for o in active if o[1] < box[1] + box[3] and box[1] < o[1] + o[3]]
        active.append(box)
    return found


@pytest.mark.parametrize("count", [1, 2, 30, 700])
def test_nothing_overlaps_and_ops_are_inside_their_block(count):
    made = layout(long_report(count))
    assert not overlapping([(b.x, b.y, b.width, b.height) for b in made.blocks])
    assert not overlapping(
        [(x, y, OP_WIDTH, OP_HEIGHT) for x, y in zip(made.x, made.y, strict=True)]
    )
    seen = []
    for block in made.blocks:
        for op in block.ops:
            assert block.x < made.x[op] < made.x[op] + OP_WIDTH < block.x + block.width
            assert block.y < made.y[op] < made.y[op] + OP_HEIGHT < block.y + block.height
        seen += block.ops
        assert block.x + block.width <= made.width
        assert block.y + block.height <= made.height
    assert sorted(seen) == list(range(count))


def test_blocks_are_segments_and_connected_host_ops_without_a_cycle():
    report = long_report(700)
    made = layout(report)
    owner = {op: k for k, block in enumerate(made.blocks) for op in block.ops}
    after = {k: set() for k in range(len(made.blocks))}
    for k, op in enumerate(report.ops):
        assert made.blocks[owner[k]].place == op.place
        assert op.segment in (None, made.blocks[owner[k]].name)
        after[owner[k]] |= {owner[i] for i in op.inputs} - {owner[k]}
    order = []
    while after:
        free = [k for k, before in after.items() if not before & after.keys()]
        assert free, "blocks wait for each other"
        order += free
        for k in free:
            del after[k]


def host_op(index, *inputs):
    return OpRecord(index, "main", "exp", f"e{index}", "host", None, None, 1, 1, "?", inputs=inputs)


def test_rows_go_down_and_long_ones_are_folded():
    chain = PartitionReport((), tuple(host_op(k, *[k - 1] * (k > 0)) for k in range(5)), ())
    made = layout(chain)
    assert made.y == tuple(sorted(made.y)) and len(set(made.x)) == 1
    chain = PartitionReport((), tuple(host_op(k, *[k - 1] * (k > 0)) for k in range(2000)), ())
    made = layout(chain)
    assert 0.5 < made.width / made.height < 3


def test_reports_without_edges_with_gaps_and_with_cycles_are_drawn():
    old = PartitionReport(("v",), tuple(host_op(k) for k in range(40)), ())
    assert len(layout(old).blocks) == 1
    odd = PartitionReport((), (host_op(3, 9), host_op(9, 3, 77), host_op(12, 12)), ())
    made = layout(odd)
    assert not overlapping(
        [(x, y, OP_WIDTH, OP_HEIGHT) for x, y in zip(made.x, made.y, strict=True)]
    )
    assert layout(PartitionReport((), (), ())).blocks == ()


# -- in a browser ----------------------------------------------------------------------------------


@browser
def test_the_page_opens_on_the_whole_graph(page):
    shown = open_page(page)
    assert shown.check["errors"] == []
    assert (shown.check["tab"], shown.check["ops"]) == ("graph", 5)
    assert shown.check["drawn"]["blocks"] == shown.check["blocks"] == 3
    panel = shown.part("panel")
    for words in (
        "The whole model",
        "of FLOPs offloaded",
        "coverage is low",
        "min_segment_flops=2e6",
        "if exp were supported by v",
        "v: no pattern of v covers exp",
        "1.1 ms measured",
    ):
        assert words in panel
    assert "Apart 1" in shown.part("tabs")


@browser
def test_a_click_on_a_segment_shows_its_ops_and_why_it_ends(page):
    shown = open_page(page, "segment=v_0")
    assert shown.check["errors"] == []
    assert shown.check["drawn"]["ops"] >= 2
    panel = shown.part("panel")
    for words in (
        "v_0",
        "2 in 1 composite",
        "Borders",
        "4 KiB",
        "a path leaves and comes back",
        "nn.relu · n0",
        "nn.relu · n1",
        "exp · e",
    ):
        assert words in panel


@browser
def test_a_click_on_an_op_shows_every_verdict(page):
    panel = open_page(page, "op=0").part("panel")
    for words in ("nn.relu", "v taken p 1 µs", "w offered q", "v gains 2 µs", "Read by"):
        assert words in panel
    panel = open_page(page, "op=2").part("panel")
    assert "v refused" in panel and "no pattern of v covers exp" in panel


def acted(page, tmp_path, script):
    """The page after a script of a person's doings: `at` tells where an op or block is drawn."""
    helper = """
    canvas.setPointerCapture = () => {};  // no real pointer is down
    const at = (o, w, h) => {
      const box = canvas.getBoundingClientRect();
      return { bubbles: true, cancelable: true,
               clientX: box.left + (o.x + w / 2 - view.x) * view.s,
               clientY: box.top + (o.y + h / 2 - view.y) * view.s };
    };
    const point = (name, where) => canvas.dispatchEvent(new PointerEvent(name, where));
    const click = (where) => { point("pointerdown", where); point("pointerup", where); };
    const key = (k, node = canvas) =>
      node.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true, cancelable: true }));
    """
    path = tmp_path / "acted.html"
    end = f"<script>{helper}{script}; follow(); leaveCheck();</script></body>"
    text = page.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    path.write_text(text.replace("</body>", end), encoding="utf-8")
    return open_page(path)


@browser
def test_the_wheel_zooms_where_the_pointer_is(page, tmp_path):
    before = open_page(page).check["zoom"]
    script = """const where = { ...at(blocks[0], 0, 0), deltaY: %s };
    canvas.dispatchEvent(new WheelEvent("wheel", where))"""
    near = acted(page, tmp_path, script % -300).check
    far = acted(page, tmp_path, script % 300).check
    assert near["errors"] == far["errors"] == []
    assert far["zoom"] < before < near["zoom"]


@browser
def test_clicks_choose_blocks_and_ops_and_escape_leaves_them(page, tmp_path):
    block = "click(at(blocks[1], blocks[1].width, 6))"
    shown = acted(page, tmp_path, block)
    assert (shown.check["errors"], shown.check["block"], shown.check["op"]) == ([], 1, -1)
    op = "showOp(ops[2]); click(at(ops[2], OP_W, OP_H))"
    shown = acted(page, tmp_path, op)
    assert (shown.check["errors"], shown.check["op"]) == ([], 2)
    assert "no pattern of v covers exp" in shown.part("panel")
    shown = acted(page, tmp_path, f"{op}; follow(); key('Escape', document.body); follow()")
    assert (shown.check["op"], shown.check["block"] >= 0) == (-1, True)


@browser
def test_a_drag_moves_and_chooses_nothing(page, tmp_path):
    script = """
    const p = at(blocks[1], blocks[1].width, 6), x = view.x;
    point("pointerdown", p);
    point("pointermove", { ...p, clientX: p.clientX + 50 });
    point("pointerup", { ...p, clientX: p.clientX + 50 });
    document.title = `moved ${Math.round((x - view.x) * view.s)}`"""
    shown = acted(page, tmp_path, script)
    assert (shown.check["errors"], shown.check["block"]) == ([], -1)
    assert "<title>moved 50</title>" in shown.dom


@browser
def test_keys_zoom_and_step_through_what_was_found(page, tmp_path):
    before = open_page(page).check["zoom"]
    assert acted(page, tmp_path, "key('+'); key('+')").check["zoom"] > before
    assert acted(page, tmp_path, "key('+'); key('-'); key('0')").check["zoom"] == before
    find = "byId('find').value = 'relu'; searched(); follow(); "
    steps = [acted(page, tmp_path, find + "key('n'); follow();" * n).check["op"] for n in (1, 2, 3)]
    assert len(set(steps)) == 3 and -1 not in steps


@browser
def test_search_finds_ops_by_name_and_by_reason(page):
    assert open_page(page, "find=covers%20exp").check["hits"] == 1
    assert open_page(page, "find=relu&place=v").check["hits"] == 3
    shown = open_page(page, "tab=ops&find=n3")
    assert shown.check["hits"] == 0
    assert "No op fits" in shown.part("view-table")


@browser
@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("segments", ["v_0", "v_1", "2 KiB"]), ("ops", ["v gains 2 µs", "float32[2]"]),
        ("reasons", ["no pattern of v covers exp"]),
        ("borders", ["v_0 host", "4 KiB", "2 µs", "3 µs"]),
        ("splits", ["v_0 and v_1", "exp · e host"]),
        ("plans", ["model ✓ kept", "1.1 ms", "± 2.0 %"]),
        ("counterfactuals", ["2 → 1", "4 KiB → 0 B", "1.8 ms"]),
    ],
)  # fmt: skip
def test_every_table(page, tab, words):
    shown = open_page(page, f"tab={tab}")
    assert (shown.check["errors"], shown.check["tab"]) == ([], tab)
    text = shown.part("view-table")
    for word in words:
        assert word in text, text


@browser
def test_names_are_never_markup(tmp_path):
    report = full_report()
    image = "<img src=x onerror=document.title='broken'>"
    ops = (replace(report.ops[0], name=NASTY), replace(report.ops[1], name=image, op=image))
    odd = replace(
        report, ops=(*ops, *report.ops[2:]), warnings=(image,), vendors=("v", "w"),
        segments=(replace(report.segments[0], function=NASTY), *report.segments[1:]),
    )  # fmt: skip
    odd.to_html(tmp_path / "r.html")
    for fragment in ("", "op=0", "op=1", "tab=ops", "tab=segments", f"find={image}"):
        shown = open_page(tmp_path / "r.html", fragment)
        assert shown.check["errors"] == []
        assert "<title>Partition report</title>" in shown.dom
        assert "<img" not in shown.dom.replace("\\u003cimg", "")


@browser
def test_an_empty_report_and_one_of_version_1_open(tmp_path):
    PartitionReport((), (), ()).to_html(tmp_path / "none.html")
    for tab in ("graph", "ops", "segments"):
        assert open_page(tmp_path / "none.html", f"tab={tab}").check["errors"] == []
    refused = (Refusal("v", "", "no pattern of v covers exp"),)
    old = tuple(replace(host_op(k), refusals=refused) for k in range(3))
    PartitionReport(("v",), old, ()).to_html(tmp_path / "old.html")
    shown = open_page(tmp_path / "old.html", "op=1")
    assert shown.check["errors"] == []
    assert "v refused" in shown.part("panel")


@browser
def test_25000_ops_open(tmp_path):
    path = tmp_path / "large.html"
    report = long_report(25_000)
    started = time.perf_counter()
    report.to_html(path)
    written = time.perf_counter() - started
    started = time.perf_counter()
    shown = open_page(path, f"segment={report.segments[300].name}", patience=600)
    opened = time.perf_counter() - started
    mib = path.stat().st_size / 2**20
    print(f"\n25,000 ops: {mib:.1f} MiB, written in {written:.1f} s, opened in {opened:.1f} s")
    assert path.stat().st_size <= 10e6
    assert (shown.check["errors"], shown.check["ops"]) == ([], 25_000)
    assert shown.check["drawn"]["ops"] > 0
    assert report.segments[300].name in shown.part("panel")
