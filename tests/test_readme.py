"""Documentation shows only what runs: its code blocks are run, or are the code of an example."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def shape(text: str) -> list[str]:
    """Output without what differs between machines and runs: numbers, versions, spacing."""
    text = re.sub(r"\d+(\.\d+)*(e[-+]?\d+)?(\.post\d+)?", "#", text)
    text = re.sub(r"# [kMG]?i?B\b", "# B", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


GROUPS = ("adopt", "cache", "npu")
"""Commands whose next word is a command, too."""


@pytest.fixture
def folder(tmp_path, monkeypatch, zoo):
    """A working directory as `scripts/setup` leaves the checkout."""
    (tmp_path / "models").mkdir()
    for name in ("resnet50", "squeezenet"):
        (tmp_path / "models" / f"{name}.onnx").symlink_to(zoo(name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_example_runs_and_prints_what_it_shows(folder):
    (code,) = blocks(ROOT / "README.md", "python")
    shown = blocks(ROOT / "README.md", "text")[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert shape(printed.getvalue()) == shape(shown)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_commands_shown_exist(path):
    """Every command line of the docs is one the program accepts: its options are in --help."""
    lines = [line[2:] for block in blocks(path, "console") for line in block.splitlines()
             if line.startswith("$ ")]  # fmt: skip
    for line in lines:
        words = shlex.split(line.split(" #")[0])
        if words[0] == "byoc" and len(words) > 1 and not words[1].startswith("-"):
            command = words[1:3] if words[1] in GROUPS else words[1:2]
            help_text = subprocess.run(
                [sys.executable, "-m", "byoc", *command, "--help"],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "COLUMNS": "200"},
            ).stdout
            options = [word for word in words if word.startswith("--")]
            assert all(option in help_text for option in options), line
        elif "/" in words[0]:
            assert os.access(ROOT / words[0], os.X_OK), line


def test_readme_has_two_commands_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("scripts/setup", "scripts/test"):
        assert command in readme
        assert os.access(ROOT / command, os.X_OK)


def test_the_vendor_guide_is_the_example():
    source = (ROOT / "examples" / "numpy_vendor.py").read_text(encoding="utf-8")
    guide = blocks(ROOT / "docs" / "writing-a-vendor.md", "python")
    assert len(guide) == 5
    for block in guide:
        assert block.rstrip() in source


@pytest.mark.parametrize("example", sorted(p.name for p in (ROOT / "examples").glob("*.py")))
def test_examples_run(example, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_example_vendor_says_no_with_a_reason():
    import byoc
    from byoc.testing.zoo import build

    sys.path.append(str(ROOT / "examples"))
    try:
        from numpy_vendor import VENDOR
    finally:
        sys.path.pop()
    report = byoc.partition_model(build("bert_tiny"), vendors=[VENDOR]).report
    assert report.coverage.ops > 0.2
    with pytest.raises(byoc.CompileError, match="the option 'limit' allows 10"):
        byoc.compile(build("mlp"), vendors={VENDOR: {"limit": 10}})


def test_yaml_shown_is_accepted(tmp_path):
    from byoc.cli.common import compile_options

    (block,) = blocks(ROOT / "docs" / "cli.md", "yaml")
    (tmp_path / "options.yaml").write_text(block)
    assert list(compile_options(None, tmp_path / "options.yaml")["vendors"]) == [
        "dnnl",
        "onnxruntime",
    ]
