"""docs/relay.md shows what runs, and every operator that is read."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from byoc.frontends.relay.ops.table import FAMILIES

DOCS = Path(__file__).parents[3] / "docs" / "relay.md"


def operators() -> str:
    lines = []
    for family, table in FAMILIES.items():
        names = ", ".join(f"`{name}`" for name in sorted(table))
        lines += [f"**{family.capitalize()}**: {names}.", ""]
    return "\n".join(textwrap.fill(line, 100, break_on_hyphens=False) for line in lines)


def test_every_operator_is_listed(request):
    text = DOCS.read_text(encoding="utf-8")
    head, rest = text.split("<!-- operators -->\n")
    listed, tail = rest.split("<!-- end -->")
    if request.config.getoption("--update-golden"):
        DOCS.write_text(
            f"{head}<!-- operators -->\n{operators()}\n<!-- end -->{tail}", encoding="utf-8"
        )
        return
    assert listed.strip() == operators().strip(), "run with --update-golden"


def test_the_example_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for code in blocks:
        exec(compile(code, str(DOCS), "exec"), {})


@pytest.mark.parametrize("name", ["nn.conv2d", "qnn.conv2d", "vision.roi_align"])
def test_families_cover_what_matters(name):
    assert sum(name in table for table in FAMILIES.values()) == 1
