"""docs/npu.md says what the table and the configuration say."""

import importlib.util
import json
from pathlib import Path

from byoc.vendor_templates.npu.machine.config import load_config

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "vendor_templates" / "npu"


def test_the_specification_holds_the_instruction_tables():
    spec = importlib.util.spec_from_file_location("npu_generate", FOLDER / "isa" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = json.loads((FOLDER / "isa" / "isa.json").read_text())
    assert module.tables(table) in (ROOT / "docs" / "npu.md").read_text()


def test_the_specification_names_the_default_machine():
    text = (ROOT / "docs" / "npu.md").read_text()
    config = load_config()
    for value in (
        f"`rows` [{config.array.rows}]",
        f"`columns` [{config.array.columns}]",
        f"**Activation scratchpad** [{config.activation.size >> 10} KiB]",
        f"`banks` [{config.activation.banks}] of `word` [{config.activation.word}]",
        f"**Weight scratchpad** [{config.weight.size >> 10} KiB]",
        f"**Accumulators** [{config.accumulator.size >> 10} KiB]",
        f"`width` [{config.dma.width}]",
        f"`latency` [{config.dma.latency}] cycles to the",
        f"`burst` [{config.dma.burst}]",
        f"`outstanding` [{config.dma.outstanding}]",
        f"`lanes` [{config.vector.lanes}]",
        f"[{config.clock_mhz:g} MHz]",
        f"[{config.link.gigabytes_per_second:g} GB/s]",
    ):
        assert value in text, value


def test_the_readme_counts_every_file():
    text = (FOLDER / "README.md").read_text()
    files = [p for p in FOLDER.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    for path in files:
        name = path.relative_to(FOLDER).as_posix()
        if name in ("README.md", "CMakeLists.txt"):
            continue
        lines = len(path.read_text().splitlines())
        assert f"| `{name}` | {lines} |" in text, f"{name} has {lines} lines"
