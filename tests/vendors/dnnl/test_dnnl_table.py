"""The table of ops in C++ and the contract between Python and C++ speak of the same kinds."""

import re
from pathlib import Path

from byoc.vendor_templates import dnnl

FOLDER = Path(dnnl.__file__).parent
ROW = re.compile(r"^OP\((\w+),\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+),\s*(Build\w+),\s*(.+)\)$")


def rows():
    """The lines of table.def: kind → (bounds of inputs and outputs, build function, traits)."""
    lines = (FOLDER / "src/ops/table.def").read_text(encoding="utf-8").splitlines()
    found = [ROW.match(line) for line in lines if line.startswith("OP(")]
    assert all(found), "a line of table.def is not OP(kind, inputs, outputs, build, traits)"
    return {m[1]: (m.groups()[1:5], m[6], m[7]) for m in found}


def documented():
    """Kinds in the table under "Ops" of program.md."""
    text = (FOLDER / "program.md").read_text(encoding="utf-8")
    table = text.split("\n## Ops\n")[1]
    return re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:]


def test_program_md_describes_every_kind_once():
    assert sorted(documented()) == sorted(rows())


def test_each_kind_has_a_function_of_its_own_in_one_file():
    sources = {p.name: p.read_text(encoding="utf-8") for p in (FOLDER / "src/ops").glob("*.cc")}
    for kind, (_, build, _) in rows().items():
        homes = [name for name, text in sources.items() if f"size_t {build}(Builder& b" in text]
        assert len(homes) == 1, (kind, homes)
