"""The corpus: what is found, what each change does, and how a textual rewriter fares beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import textual
from corpus import SNIPPETS, Snippet

from byoc.adopt import analyse, changed, compatible
from byoc.adopt.finding import SourceFinding
from byoc.adopt.source import SourceProject
from byoc.plugins.discovery import find

POSITIVES = [s for s in SNIPPETS if s.rules]


def findings(snippet: Snippet, folder: Path) -> tuple[Path, list[SourceFinding], SourceProject]:
    path = folder / "model.py"
    path.write_text(snippet.source, encoding="utf-8")
    project = SourceProject()
    return path.resolve(), analyse(path, [find("dnnl")], project=project), project


def scores(found: dict[str, tuple[str, ...]]) -> tuple[float, float]:
    """Precision and recall of (snippet, rule) pairs."""
    wanted = {(s.name, rule) for s in SNIPPETS for rule in s.rules}
    said = {(name, rule) for name, rules in found.items() for rule in rules}
    return len(said & wanted) / len(said), len(said & wanted) / len(wanted)


def test_the_corpus_is_large_and_half_of_it_negative():
    assert len(SNIPPETS) >= 80
    assert len({s.name for s in SNIPPETS}) == len(SNIPPETS)
    assert len(SNIPPETS) - len(POSITIVES) >= len(SNIPPETS) / 2


def test_precision_and_recall(tmp_path):
    found = {s.name: tuple(f.rule for f in findings(s, tmp_path)[1]) for s in SNIPPETS}
    wrong = {s.name: (found[s.name], s.rules) for s in SNIPPETS if found[s.name] != s.rules}
    precision, recall = scores(found)
    assert precision == 1.0, wrong
    assert recall > 0.956, wrong
    by_text = scores({s.name: textual.find(s.source) for s in SNIPPETS})
    assert by_text[0] < 0.8, f"the textual rewriter: {by_text}"
    assert by_text[1] < recall


@pytest.mark.parametrize("snippet", POSITIVES, ids=lambda s: s.name)
def test_a_change_touches_only_what_it_must(snippet, tmp_path):
    """Lines outside of edits are equal to the byte; a second run finds nothing more."""
    path, found, project = findings(snippet, tmp_path)
    new = changed(compatible(found), project)[path]
    old_lines, new_lines = project.open(path).lines, new.splitlines(keepends=True)
    kept = list(old_lines)
    touched = set()
    for finding in found:
        for edit in finding.edits[path]:
            for number in range(len(old_lines)):
                start = project.open(path).offset(number + 1, 0)
                if start < edit.end and edit.start < start + len(old_lines[number]):
                    touched.add(number)
    kept = [line for number, line in enumerate(old_lines) if number not in touched]
    rest = iter(new_lines)
    assert all(line in rest for line in kept), "a line that no edit touches is not there any more"
    path.write_bytes(new)
    assert analyse(path, [find("dnnl")]) == []


def test_line_ends_and_imports_are_kept(tmp_path):
    text = (
        "from torch import where\r\n\r\n\r\ndef f(x):\r\n"
        '    """Ä."""\r\n    return where(x > 0, x, 0)  # ü\r\n'
    )
    path = tmp_path / "f.py"
    for start, called in (("", "F"), ("import torch\r\n", "torch.nn.functional"),
                          ("from torch import nn\r\n", "nn.functional")):  # fmt: skip
        path.write_bytes((start + text).encode())
        project = SourceProject()
        new = changed(analyse(path, [find("dnnl")], project=project), project)[path.resolve()]
        wanted = (start + text).replace("where(x > 0, x, 0)", f"{called}.relu(x)")
        if called == "F":
            first = "from torch import where\r\n"
            wanted = wanted.replace(first, first + "import torch.nn.functional as F\r\n")
        assert new.decode() == wanted


def test_classes_are_found_across_files(tmp_path):
    (tmp_path / "base.py").write_text(
        "import torch.nn as nn\n\n\nclass Base(nn.Module):\n"
        "    def __init__(self, d):\n        super().__init__()\n"
        "        self.q = nn.Linear(d, d)\n        self.k = nn.Linear(d, d)\n"
        "        self.v = nn.Linear(d, d)\n"
    )
    model = tmp_path / "model.py"
    model.write_text(
        "from base import Base\n\n\nclass Model(Base):\n    def forward(self, x):\n"
        "        q, k, v = self.q(x), self.k(x), self.v(x)\n        return (q @ k.mT) @ v\n"
    )
    project = SourceProject()
    (finding,) = analyse(model, [find("dnnl")], project=project)
    new = changed([finding], project)
    assert {path.name for path in new} == {"base.py", "model.py"}
    assert b"self.qkv = nn.Linear(d, 3 * d)" in new[(tmp_path / "base.py").resolve()]


@pytest.mark.parametrize(
    "text", [b"def f(:\n", b"\xff\xfe", b"# coding: latin-1\nx = '\xe4'\n", b"\0"],
    ids=["syntax", "bytes", "encoding", "zero"],
)  # fmt: skip
def test_what_is_no_python_is_said(text, tmp_path):
    from byoc.errors import InputError

    path = tmp_path / "bad.py"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"bad\.py"):
        analyse(path, [find("dnnl")])
