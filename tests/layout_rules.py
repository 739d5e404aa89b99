"""What tests/test_layout.py asks of a checkout: each rule returns the sentences it complains with.

Sources are read, nothing is imported: imports inside functions and for type checkers count like all
others, because a reader of the module has to follow them too.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


LINKED = ("partition", "runtime", "vendor_templates")
CONTRACT = ("errors", "dims", "segment", "design", "vendor", "contract_checks")
PROJECTS = ("kit", "projects")
"""Where `byoc new-vendor` has its files."""
LOOSE = {"__init__", "__main__", *CONTRACT, "compiler", "executable"}
SKELETON = ("__init__.py", "options.py", "patterns.py", "compile.py", "README.md")


@dataclass(frozen=True)
class Room:
    """One row of the table.

    Attributes:
        purpose: What the room is for, in one line.
        may_import: Names of the rooms whose modules its modules may import.
        built: Whether its folder exists yet.
    """

    purpose: str
    may_import: tuple[str, ...] = ()
    built: bool = True


class Checkout:
    """The sources below a folder, parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Every module of the package, by its name."""
        found = {}
        for folder in (self.root / "byoc", *(self.root / name for name in LINKED)):
            start = "byoc" if folder.name == "byoc" else f"byoc.{folder.name}"
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(folder).with_suffix("").parts
                if "__pycache__" in parts or (start == "byoc" and parts[0] in LINKED):
                    continue  # reached through their link
                if start == "byoc" and parts[:2] == PROJECTS:
                    continue  # written into projects of vendors: their imports are a user's
                found[".".join([start, *(p for p in parts if p != "__init__")])] = path
        return found

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Every module's syntax tree."""
        return {
            name: _parsed(path.read_text(encoding="utf-8")) for name, path in self.paths.items()
        }

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Modules of the package that each module imports, wherever the import stands."""
        return {
            name: {self.module_of(full) for full in _imported(tree) if full.split(".")[0] == "byoc"}
            for name, tree in self.trees.items()
        }

    def module_of(self, full: str) -> str:
        """The longest prefix of a dotted name that is a module (or the first two parts)."""
        parts = full.split(".")
        for end in range(len(parts), 0, -1):
            if ".".join(parts[:end]) in self.paths:
                return ".".join(parts[:end]) if end > 1 or len(parts) == 1 else full
        return full

    @cached_property
    def vendors(self) -> tuple[str, ...]:
        """The vendors that have a folder."""
        folder = self.root / "vendor_templates"
        return tuple(sorted(path.parent.name for path in folder.glob("*/__init__.py")))


@cache
def _parsed(text: str) -> ast.Module:
    """The tree of a module; copies of a checkout share those of files that are the same."""
    return ast.parse(text)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Full names a tree imports: ``from a import b`` is ``a.b``, be it a module or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str | None:
    """The room that a module's name says it is in; None: it is in none."""
    parts = module.split(".")
    if parts == ["byoc"]:
        return "api"
    first = parts[1]
    if len(parts) == 2 and first in CONTRACT:
        return "contract"
    if first == "vendor_templates":
        return "vendors"
    if first == "__main__":
        return "cli"
    return first


def homeless(checkout: Checkout, rooms: Mapping[str, Room]) -> list[str]:
    """Modules that are in no room, loose files that are none of the ten, rooms without folder."""
    found = []
    for module, path in checkout.paths.items():
        room = room_of(module)
        if room not in rooms:
            found.append(f"{module} is in no room of the table; legal: {', '.join(rooms)}")
        elif path.parent == checkout.root / "byoc" and path.stem not in LOOSE:
            found.append(f"{module} lies loose in byoc/, where only {sorted(LOOSE)} may")
    lived_in = {room_of(module) for module in checkout.paths}
    found += [
        f"room {n!r} has no module" for n, r in rooms.items() if r.built and n not in lived_in
    ]
    found += [f"room {n!r} is said to be unbuilt, but has modules"
              for n, r in rooms.items() if not r.built and n in lived_in]  # fmt: skip
    return found


def undescribed(checkout: Checkout) -> list[str]:
    """Folders whose ``__init__`` lacks a docstring or an ``__all__``."""
    found = []
    for module, path in checkout.paths.items():
        if path.name == "__init__.py":
            tree = checkout.trees[module]
            if not ast.get_docstring(tree):
                found.append(f"{module} has no docstring")
            names = [t.id for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))
                     for t in (node.targets if isinstance(node, ast.Assign) else [node.target])
                     if isinstance(t, ast.Name)]  # fmt: skip
            if "__all__" not in names:
                found.append(f"{module} has no __all__")
    return found


def crowded(checkout: Checkout, most_modules: int, most_lines: int) -> list[str]:
    """Folders with too many modules, modules with too many lines."""
    count: dict[Path, int] = {}
    found = []
    for module, path in checkout.paths.items():
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > most_lines:
            found.append(f"{module} has {lines} lines, {most_lines} at most")
        if path.name != "__init__.py":
            count[path.parent] = count.get(path.parent, 0) + 1
    found += [
        f"{folder.relative_to(checkout.root)} has {n} modules, {most_modules} at most"
        for folder, n in count.items()
        if n > most_modules
    ]
    return found


def wrong_arrows(checkout: Checkout, rooms: Mapping[str, Room]) -> list[str]:
    """Imports that the table does not allow; vendors know no other vendor."""
    found = []
    for module, imported in checkout.imports.items():
        room = room_of(module) or ""
        legal = {room, *rooms[room].may_import} if room in rooms else set()
        for other in sorted(imported):
            if room_of(other) not in legal:
                found.append(f"{module} imports {other}: {room} may import {sorted(legal)}")
            elif room == "vendors" == room_of(other):
                mine, theirs = module.split(".")[2:3], other.split(".")[2:3]
                if mine != theirs:
                    found.append(f"{module} imports {other}: of another vendor")
    return found


def circles(checkout: Checkout) -> list[str]:
    """Groups of modules that import each other by a detour (strongly connected components)."""
    graph = {
        module: sorted(other for other in imported if other in checkout.paths and other != module)
        for module, imported in checkout.imports.items()
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(f"a circle of imports: {', '.join(sorted(group))}")

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10_000))
    try:
        for module in graph:
            if module not in index:
                visit(module)
    finally:
        sys.setrecursionlimit(limit)
    return found


def relative_imports(checkout: Checkout) -> list[str]:
    """Modules that import by a leading dot."""
    return [
        f"{module}, line {node.lineno}: import by the absolute name"
        for module, tree in checkout.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(checkout: Checkout) -> list[str]:
    """Private names that one module takes from another, by import or through a module."""
    found = []
    for module, tree in checkout.trees.items():
        modules = set()  # local names that are modules of ours
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "byoc":
                for alias in node.names:
                    if _is_private(alias.name):
                        found.append(f"{module} imports {node.module}.{alias.name}, a private name")
                    if f"{node.module}.{alias.name}" in checkout.paths:
                        modules.add(alias.asname or alias.name)
        found += [
            f"{module}, line {node.lineno}: uses {node.value.id}.{node.attr}, a private name"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and node.value.id in modules and _is_private(node.attr)
        ]  # fmt: skip
    return found


def double_names(checkout: Checkout, shared: Mapping[str, str]) -> list[str]:
    """Public class names that several modules define."""
    homes: dict[str, list[str]] = {}
    for module, tree in checkout.trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    found = [
        f"class {name} means {len(modules)} things: {', '.join(sorted(modules))}"
        for name, modules in sorted(homes.items())
        if len(modules) > 1 and name not in shared
    ]
    found += [
        f"{name} is listed as shared, but is not" for name in shared if len(homes.get(name, [])) < 2
    ]
    return found


def vendor_names(checkout: Checkout, allowed: Mapping[str, set[str]]) -> list[str]:
    """Strings that are a vendor's name, outside vendors' folders."""
    found = []
    for module, tree in checkout.trees.items():
        if room_of(module) == "vendors" or room_of(module) == "testing":
            continue
        legal = allowed.get(module, set())
        found += [
            f"{module}, line {node.lineno}: names the vendor {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and node.value in checkout.vendors and node.value not in legal
        ]  # fmt: skip
    return found


def skeletons(checkout: Checkout) -> list[str]:
    """Vendors that lack a file which every vendor has."""
    return [
        f"vendor {vendor} lacks {name}; every vendor has {', '.join(SKELETON)}"
        for vendor in checkout.vendors
        for name in SKELETON
        if not (checkout.root / "vendor_templates" / vendor / name).exists()
    ]


def undeclared(checkout: Checkout, distributions: Mapping[str, str]) -> list[str]:
    """Third-party packages that are imported, but are no dependency and no extra."""
    text = (checkout.root / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != "dev"}
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    declared = {re.split(r"[\s<>=!~\[;]", line)[0].lower() for line in lines}
    found = []
    for module, tree in checkout.trees.items():
        for top in sorted({full.split(".")[0] for full in _imported(tree)}):
            name = distributions.get(top, top)
            if top != "byoc" and top not in sys.stdlib_module_names and name not in declared:
                found.append(f"{module} imports {top}, and pyproject.toml declares no {name!r}")
    return found


def untested(checkout: Checkout, rooms: Mapping[str, Room]) -> list[str]:
    """Rooms without a folder of tests, and folders of tests without a room."""
    folders = {path.name for path in (checkout.root / "tests").iterdir() if path.is_dir()}
    folders -= {"__pycache__", "golden"}
    alone = {
        "api",
        "compiler",
        "executable",
        "runners",
    }  # tested through whole models, in tests/e2e
    wanted = {name for name, room in rooms.items() if room.built} - alone | {"e2e"}
    found = [f"room {name!r} has no folder tests/{name}" for name in sorted(wanted - folders)]
    found += [f"tests/{name} belongs to no room" for name in sorted(folders - wanted)]
    return found


def wrong_includes(checkout: Checkout, layers: Sequence[str]) -> list[str]:
    """Files of runtime/src in no layer, and includes of a layer that comes later."""
    source = checkout.root / "runtime" / "src"
    found = []
    for path in sorted([*source.rglob("*.h"), *source.rglob("*.cc")]):
        name = path.relative_to(source)
        if name.parts[0] not in layers:
            found.append(f"runtime/src/{name} is in no layer; legal: {', '.join(layers)}")
            continue
        for included in re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.M):
            layer = included.split("/")[0]
            if layer in layers and layers.index(layer) > layers.index(name.parts[0]):
                found.append(f"{name} includes {included}, of a later layer")
            elif layer not in (*layers, "byoc"):
                found.append(f"{name} includes {included}: say its layer")
    return found


def stray_registrations(checkout: Checkout) -> list[str]:
    """Global functions registered outside runtime/src/bindings."""
    source = checkout.root / "runtime" / "src"
    return [
        f"{path.relative_to(source)} registers global functions: that is for bindings/"
        for path in sorted([*source.rglob("*.h"), *source.rglob("*.cc")])
        if path.parent.name != "bindings" and "GlobalDef" in path.read_text(encoding="utf-8")
    ]


def doubles(checkout: Checkout, folders: Sequence[str]) -> list[str]:
    """Imports of a linked folder by its own name, which would make two copies of it."""
    found = []
    for folder in ("byoc", *LINKED, *folders):
        for path in (checkout.root / folder).rglob("*.py"):
            found += [
                f"{path}: {full}"
                for full in _imported(_parsed(path.read_text(encoding="utf-8")))
                if full.split(".")[0] in LINKED
            ]
    return found


def _folder(name: str, room: Room) -> str:
    """Where a room is, as documentation shows it."""
    special = {
        "contract": "`byoc/{errors,dims,segment,design,vendor,contract_checks}.py`",
        "partition": "`partition/`",
        "runtime": "`runtime/`",
        "vendors": "`vendor_templates/<name>/`",
        "executable": "`byoc/executable.py`",
        "compiler": "`byoc/compiler.py`",
        "api": "`byoc/__init__.py`",
    }
    return special.get(name, f"`byoc/{name}/`" if room.built else f"(`byoc/{name}/`, to come)")


def as_markdown(rooms: Mapping[str, Room]) -> str:
    """The table as docs/architecture.md shows it."""
    lines = ["| room | folder | what it is for | may import |", "|---|---|---|---|"]
    for name, room in rooms.items():
        others = ", ".join(room.may_import) or "nothing"
        lines.append(f"| {name} | {_folder(name, room)} | {room.purpose} | {others} |")
    return "\n".join(lines) + "\n"


def as_list(rooms: Mapping[str, Room]) -> str:
    """The rooms that are built, a line each, as README.md shows them."""
    lines = ["| folder | what it is for |", "|---|---|"]
    lines += [f"| {_folder(n, room)} | {room.purpose} |" for n, room in rooms.items() if room.built]
    return "\n".join(lines) + "\n"


def environment() -> dict[str, str]:
    """This process's environment without what changes where modules are found."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
