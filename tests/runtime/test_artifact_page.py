"""docs/artifact.md has every field of what is in a .byoc file, and no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from byoc.runtime.io.archive import Member
from byoc.runtime.io.manifest import Manifest, SegmentEntry, ShapeEntry, VendorEntry
from byoc.runtime.io.weights import ArrayEntry
from byoc.runtime.plan import Plan, PlanTensor, Task
from byoc.runtime.program import Target

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "artifact.md"
RECORDS = (
    Manifest, VendorEntry, SegmentEntry, ShapeEntry, ArrayEntry, Target, Member,
    Plan, PlanTensor, Task,
)  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_a_table_names_the_fields_of_its_record(record):
    text = PAGE.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {record.__name__}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    first_cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(record))


def test_the_table_of_versions_ends_with_the_newest():
    header = (ROOT / "runtime/src/artifact/manifest.h").read_text(encoding="utf-8")
    (newest,) = re.findall(r"kNewestFormat = (\d+);", header)
    text = PAGE.read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Versions\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    versions = re.findall(r"^\| (\d+) \|", section, re.M)
    assert versions == [str(n) for n in range(1, int(newest) + 1)]
