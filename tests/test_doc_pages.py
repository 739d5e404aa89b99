"""Pages that are read from top to bottom: their Python runs, and prints what they show.

A ``text`` block behind a ``python`` block is what that block prints, and the error of byoc that
ends it, if one does. ``pytest --update-golden`` writes these blocks; numbers, versions, spacing and
line breaks may differ between machines.
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
import warnings
from pathlib import Path

import pytest

import byoc

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 110
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.M | re.S
)


def run(code: str, names: dict[str, object], origin: str) -> str:
    """What a block prints, or says as it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, origin, "exec", dont_inherit=True), names)
        except byoc.ByocError as error:
            said = f"{type(error).__name__}: {error}"
            for line in said.split("\n"):
                printed.write("\n".join(textwrap.wrap(line, WIDTH, break_on_hyphens=False)) + "\n")
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().split("\n"))


def shape(text: str) -> str:
    """What must be equal on every machine."""
    text = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{16,}\b", "#", text)
    text = re.sub(r"\d+(\.\d+)*(e[-+]?\d+)?(\.post\d+)?", "#", text)
    return " ".join(re.sub(r"# [kMG]?i?B\b|# [GMk]\b", "#", text).split())


PAGES = ["adopt", "artifact", "dse", "kernels", "pipeline", "porting-from-relay", "traps"]


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_prints_what_it_shows(name, request, tmp_path, monkeypatch):
    path = DOCS / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": name}
    parts, at, differ = [], 0, []
    for block in _BLOCK.finditer(text):
        said = run(block["code"], names, f"{name}.md")
        if block["shown"] is None:
            assert not said, f"a block of {name}.md prints what is not shown: {said}"
            continue
        parts += [text[at : block.start("shown")], said + "\n"]
        at = block.end("shown")
        if shape(said) != shape(block["shown"]):
            differ.append(f"shown:\n{block['shown']}\nprinted:\n{said}")
    assert at, f"{name}.md has no code"
    if request.config.getoption("--update-golden"):
        path.write_text("".join([*parts, text[at:]]), encoding="utf-8")
        return
    assert not differ, "\n".join([*differ, "when right, run with --update-golden"])
