"""Who may import whom: docs/architecture.md as assertions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACT = {"byoc.dims", "byoc.errors", "byoc.segment", "byoc.vendor"}
FOLDERS = {"byoc": "byoc", "partition": "byoc.partition", "runtime": "byoc.runtime"} | {
    "vendor_templates": "byoc.vendor_templates"
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the project, by its installed name."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(p for p in parts if p != "__init__")]), path


def imports(module: str, path: Path) -> set[str]:
    """Modules of byoc that `path` imports, also inside functions, not for typing only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], base]).rstrip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name == "byoc" or name.startswith("byoc.")}


def inside(name: str, allowed: set[str]) -> bool:
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def strangers(package: str, allowed: set[str]) -> list[str]:
    """Imports of a package that are outside itself and what it may know."""
    return [
        f"{module} imports {name}"
        for module, path in modules()
        if inside(module, {package})
        for name in sorted(imports(module, path))
        if name != "byoc" and not inside(name, allowed | {package})
    ]


def test_the_contract_imports_only_itself():
    for module in CONTRACT:
        assert strangers(module, CONTRACT) == []


def test_partition_imports_the_contract_only():
    # how a report looks is asked for when a report is shown
    allowed = CONTRACT | {"byoc.report", "byoc.kit.foreign_op"}
    assert strangers("byoc.partition", allowed) == []


def test_runtime_imports_the_contract_only():
    # how a profile looks is asked for when a profile is shown
    assert strangers("byoc.runtime", CONTRACT | {"byoc.report"}) == []


@pytest.mark.parametrize(
    "vendor",
    sorted(p.parent.name for p in (ROOT / "vendor_templates").glob("*/__init__.py")),
)
def test_a_vendor_imports_the_contract_only(vendor):
    tools = {  # made for vendors
        "byoc.kit.onnx_export",
        "byoc.kit.foreign_op",
        "byoc.kit.patterns",
        "byoc.quantize",
        "byoc.runtime.value_handles",
        "byoc.runtime.native.find_library",
        "byoc.runtime.num_threads",
    }
    allowed = CONTRACT | tools
    assert strangers(f"byoc.vendor_templates.{vendor}", allowed) == []


def test_vendors_have_no_name_outside_their_folder():
    for folder in ("partition", "runtime", "byoc/host", "byoc/report"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value not in ("dnnl", "npu", "openvino", "tensorrt"), path


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["byoc", "byoc.runtime", "byoc.executable", "byoc.bench"])
def test_running_a_model_needs_no_tvm(module):
    assert run(f"import {module}, sys; print('tvm' in sys.modules)") == "False"


def test_import_byoc_is_light():
    assert (
        run("import byoc, sys; print([m for m in ('numpy', 'onnx') if m in sys.modules])") == "[]"
    )


def test_mapped_folders_are_never_imported_a_second_time():
    """In the checkout, `partition` is importable beside `byoc.partition`: nobody may do it."""
    doubles = [
        f"{path}: {line}"
        for folder in (*FOLDERS, "tests", "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.split()[:1] in (["import"], ["from"])
        and line.split()[1].split(".")[0] in ("partition", "runtime", "vendor_templates")
    ]
    assert doubles == []
    assert not {"partition", "runtime", "vendor_templates"} & set(sys.modules)
