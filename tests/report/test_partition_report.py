"""The report as table, JSON and page."""

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from reports import NASTY, full_report, op, segment

from byoc.errors import ArtifactError, OptionError
from byoc.partition import (
    BorderRecord,
    Counterfactual,
    OpRecord,
    PartitionReport,
    PlanRecord,
    ReasonCount,
    Refusal,
    SegmentRecord,
    SplitRecord,
)
from byoc.report import SCHEMA_VERSION, render_json, report_from_json
from byoc.support.text import change, count, percent, seconds, size


@pytest.fixture
def report():
    ops = (op(0, "v"), op(1, "v"), op(2, name=NASTY), op(3, flops=20))
    return PartitionReport(vendors=("v", "w"), ops=ops, segments=(segment(),))


@pytest.fixture
def full():
    return full_report()


def test_coverage(report):
    assert report.coverage.flops == pytest.approx(0.4)
    assert report.coverage.ops == pytest.approx(0.5)
    assert report.coverage.by_vendor == (("v", 0.5),)
    unknown = PartitionReport(("v",), (op(0, "v", flops=None), op(1)), ())
    assert unknown.coverage.flops is None
    assert unknown.coverage.ops == 0.5
    nothing = PartitionReport((), (), ())
    assert (nothing.coverage.flops, nothing.coverage.ops) == (0.0, 0.0)


def test_reasons_count_host_ops_only(report):
    (reason,) = report.reasons()
    assert (reason.vendor, reason.reason, reason.count) == ("v", "weight is not constant", 2)
    assert reason.ops == ("nn.relu",)


def test_table(report):
    text = report.table()
    assert re.search(r"v_0 +2 +1 +20 +2 KiB +1 +8 B +1 +\? +main", text)
    assert "coverage: 40.0 % of FLOPs, 50.0 % of ops (2 v, 2 host); 1 segment\n" in text
    assert "on the host: 2 nn.relu" in text
    assert re.search(r"2 +v +weight is not constant +nn\.relu", text)
    assert "n3" not in text
    assert "n3" in report.table(ops=True)
    assert "\x1b" not in report.table(ops=True)
    assert max(map(len, report.table(width=60).splitlines())) <= 60
    assert str(report) == text


def test_table_names_are_not_markup():
    report = PartitionReport(("v",), (op(0, name="[bold]x[/bold]"),), ())
    assert "[bold]x[/bold]" in report.table(ops=True)


def test_table_of_plans_splits_counterfactuals_advice_and_warnings(full):
    text = full.table()
    assert re.search(r"model +2 +1 ms +1\.1 ms +± 2\.0 % +kept", text)
    assert re.search(r"host +0 +2 ms +\?\n", text)
    assert "not joined:\n  v_0 and v_1 cannot be one segment: …" in text
    assert "what if:\n  if exp were supported by v: …" in text
    assert "advice:\n  min_segment_flops=2e6 would remove 14 segments" in text
    assert text.rstrip().endswith("warning:\n  coverage is low")
    many = replace(full, splits=full.splits * 9)
    assert "… and 4 more" in many.table()


def test_long_tables_are_cut():
    many = PartitionReport(("v",), (op(0, "v"),), tuple(segment(f"v_{k}") for k in range(50)))
    assert "… and 10 more" in many.table()
    assert "v_45" not in many.table()


def test_json_round_trip(report):
    text = report.to_json()
    assert report_from_json(text) == report
    data = json.loads(text)
    assert data["schema"] == "byoc.partition-report"
    assert data["version"] == SCHEMA_VERSION
    assert data["coverage"] == {"flops": 0.4, "ops": 0.5, "by_vendor": {"v": 0.5}}
    assert data["segments"][0]["weight_bytes"] == 2048
    assert data["ops"][2]["refusals"][0]["reason"] == "weight is not constant"
    assert data["reasons"][0]["count"] == 2


SECTIONS = {
    "The report": PartitionReport,
    "A segment": SegmentRecord,
    "An op": OpRecord,
    "A border": BorderRecord,
    "A plan": PlanRecord,
    "A split": SplitRecord,
    "A counterfactual": Counterfactual,
    "A reason": ReasonCount,
}


def documented(title):
    """Names in the first column of the table under a heading."""
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {title}\n(.*?)(?=^##)", text, re.S | re.M)[1]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("title", SECTIONS)
def test_the_documented_schema_is_the_schema(title):
    wanted = {field.name for field in fields(SECTIONS[title])}
    if title == "The report":
        wanted |= {"schema", "version", "coverage", "reasons"}
    assert documented(title) == wanted


def test_documented_versions_and_nested_records(full):
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    assert f"## JSON, version {SCHEMA_VERSION}\n" in text
    data = json.loads(full.to_json())
    assert set(data) == documented("The report")
    names = set(re.findall(r"`([a-z_]+)`", text))
    for part in (data["coverage"], data["ops"][0]["verdicts"][0], data["ops"][3]["refusals"][0]):
        assert names.issuperset(part)


def test_json_round_trip_of_every_record(full):
    assert report_from_json(full.to_json()) == full
    assert report_from_json(full.to_json(indent=None)) == full


def test_json_of_costs_that_are_not_finite(report):
    endless = replace(report, plans=(PlanRecord("v only", math.inf, math.nan),))
    text = endless.to_json()
    assert not re.search(r"Infinity|NaN", text)
    assert report_from_json(text).plans == (PlanRecord("v only", None, None),)


def test_reports_of_version_1_are_read():
    old = {
        "schema": "byoc.partition-report", "version": 1, "vendors": ["v"],
        "coverage": {"flops": 0.0, "ops": 0.0, "by_vendor": {}}, "segments": [], "reasons": [],
        "ops": [{"index": 0, "function": "main", "op": "exp", "name": "e", "place": "host",
                 "segment": None, "pattern": None, "flops": 2, "bytes": None, "type": "?",
                 "refusals": [{"vendor": "v", "pattern": "", "reason": "no"}]}],
    }  # fmt: skip
    (record,) = report_from_json(json.dumps(old)).ops
    assert (record.refusals, record.verdicts) == ((Refusal("v", "", "no"),), ())
    assert record.bytes is None


def test_unknown_fields_of_later_releases_are_skipped(full):
    data = json.loads(full.to_json())
    data["colour"] = data["ops"][0]["colour"] = "green"
    assert report_from_json(json.dumps(data)) == full


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a partition report"),
        ("[]", "expected schema 'byoc.partition-report', found 'list'"),
        ('{"schema": "x"}', "found 'x'"),
        ('{"schema": "byoc.partition-report", "version": 99}', "schema version 99"),
        (
            '{"schema": "byoc.partition-report", "version": 2}',
            "damaged partition report: vendors: ",
        ),
        (
            '{"schema": "byoc.partition-report", "version": 2, "vendors": [1], "ops": [], '
            '"segments": []}',
            "damaged partition report: vendors.0: input should be a valid string; make the report",
        ),
    ],
)
def test_json_that_is_no_report(text, words):
    with pytest.raises(ArtifactError, match=re.escape(words)):
        report_from_json(text)


def test_page_is_written_whole_or_not_at_all(report, tmp_path):
    with pytest.raises(ArtifactError, match="cannot write the report to .*choose a path"):
        report.to_html(tmp_path / "missing" / "r.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match="cannot write the report"):
        report.to_html(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_figures():
    assert [count(v) for v in (None, 0, 999, 1230, 1_230_000, 8.21e9)] == [
        "?", "0", "999", "1.23 k", "1.23 M", "8.21 G",
    ]  # fmt: skip
    assert [size(v) for v in (None, 0, 1023, 1536, 3 << 30)] == [
        "?", "0 B", "1023 B", "1.5 KiB", "3 GiB",
    ]  # fmt: skip
    assert [percent(v) for v in (None, 0.0, 0.9949, 0.99999, 1.0)] == [
        "?", "0.0 %", "99.5 %", "99.9 %", "100.0 %",
    ]  # fmt: skip


def test_times():
    assert [seconds(v) for v in (None, 0.0, 1e-9, 4.2e-7, 1.5e-6, 0.00123, 0.0123, 1, 1234)] == [
        "?", "0 µs", "0 µs", "0.42 µs", "1.5 µs", "1.23 ms", "12.3 ms", "1 s", "1234 s",
    ]  # fmt: skip
    assert seconds(math.inf) == "∞"
    assert [change(v) for v in (None, -0.0018, 0.0004, 0.0)] == [
        "?", "\N{MINUS SIGN}1.8 ms", "+400 µs", "0 µs",
    ]  # fmt: skip


def test_rows_are_flat(full):
    scalar = (str, int, float, bool, type(None))
    for kind in ("ops", "segments", "borders", "plans", "splits", "counterfactuals", "reasons"):
        found = full.rows(kind)
        assert found
        assert len({tuple(row) for row in found}) == 1
        assert all(isinstance(value, scalar) for row in found for value in row.values())
    first, second, third, *_ = full.rows()
    assert (first["verdict.v"], first["verdict.w"]) == ("taken", "offered")
    assert first["reason.w"] == "v gains 2 µs"
    assert (second["verdict.v"], second["verdict.w"], second["inputs"]) == ("taken", None, "0")
    assert (third["verdict.v"], third["reason.v"]) == ("refused", "no pattern of v covers exp")
    (split,) = full.rows("splits")
    assert split["path"] == (
        "nn.relu (n1, v_0) → exp (e, host) → tanh (f, host) → nn.relu (last, v_1)"
    )
    with pytest.raises(OptionError, match="no rows of 'segment'; did you mean 'segments'"):
        full.rows("segment")


def test_compact_json(report):
    assert "\n" not in render_json(report, indent=None)
