"""The one table of rooms: which there are, what each is for, and what each may import.

``ROOMS`` is the only truth. The tests below hold the tree to it, `docs/architecture.md` shows it (a
test compares), and rules that no table can say stand beside it. Every rule is a function from a
checkout to the sentences that it has to complain of, so that it can also be tried on a copy that
breaks it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import layout_rules as rules
import pytest
from layout_rules import Checkout, Room

ROOT = Path(__file__).parents[1]

CONTRACT = ("contract",)
BASE = (*CONTRACT, "support")

ROOMS = {
    # name: what it is for, what it may import. Lowest first: every arrow points up this table.
    "contract": Room("what users, rooms and vendors share: errors, dimensions, segments, vendors"),
    "support": Room("what any room may use: files, text, dtypes, memory", CONTRACT),
    "ir": Room("TVM's objects as plain Python values, and back", BASE),
    "report": Room("reports and profiles: their records, and what they are shown as", BASE),
    "kit": Room("help for vendor authors: patterns, byoc's own ops, segments as ONNX", BASE),
    "runtime": Room("sessions, plans, `.byoc` files, worker processes", (*BASE, "report")),
    "plugins": Room("vendors that are installed, and requests for them", (*BASE, "runtime")),
    "tir": Room("a toolbox for CPU kernels: target, tensor expressions, schedules", BASE),
    "timing": Room("measured seconds: probes, paired loops, a store", (*BASE, "runtime")),
    "dse": Room("design space exploration of accelerators, through vendors' hooks",
                (*BASE, "timing")),
    "partition": Room("who runs what: match, place, group, outline, explain",
                      (*BASE, "ir", "report", "kit")),
    "placement": Room("placements that users keep as files: policies, locks",
                      (*BASE, "ir", "report", "partition")),
    "frontends": Room("model files → one normal form of Relax",
                      (*BASE, "ir", "kit", "runtime", "partition")),
    "host": Room("what no vendor takes, as one library of kernels",
                 (*BASE, "ir", "tir", "runtime")),
    "vendors": Room("the vendors that byoc ships, a folder each", (*BASE, "kit", "runtime", "tir")),
    "build": Room("a partitioned model → a `Program` that the runtime can run",
                  (*BASE, "ir", "report", "kit", "runtime", "plugins", "partition", "frontends",
                   "host")),
    "specialise": Room("plans of their own for shapes that come often",
                       (*BASE, "ir", "kit", "runtime", "plugins", "partition", "frontends", "host",
                        "build")),
    "measure": Room("placement by measured time",
                    (*BASE, "ir", "report", "kit", "runtime", "plugins", "timing", "partition",
                     "placement", "frontends", "host", "build")),
    "runners": Room("what runs behind an executable: plain, background, specialised, loaded",
                    (*BASE, "runtime", "build", "specialise")),
    "executable": Room("a compiled model as users hold it; loading one",
                       (*BASE, "report", "runtime", "plugins", "build", "specialise", "runners")),
    "recipes": Room("one way through partition and build per mode of compiling",
                    (*BASE, "report", "kit", "runtime", "plugins", "partition", "placement",
                     "frontends", "host", "build", "specialise", "measure", "runners")),
    "compiler": Room("`byoc.compile`, top to bottom",
                     (*BASE, "report", "runtime", "plugins", "partition", "placement", "frontends",
                      "build", "specialise", "recipes", "executable")),
    "api": Room("`import byoc`: the public names, imported when first used",
                (*BASE, "report", "runtime", "plugins", "partition", "executable", "compiler")),
    "bench": Room("how fast and how near to a reference a model is",
                  (*BASE, "runtime", "timing", "executable", "api")),
    "quantize": Room("post-training quantisation of ONNX models",
                     (*BASE, "frontends", "api")),
    "integrations": Room("byoc inside other tools: TVM's passes, `torch.compile`, ONNX's backend",
                         (*BASE, "ir", "kit", "runtime", "plugins", "partition", "frontends",
                          "build", "executable", "compiler", "api")),
    "debug": Room("which op of a model a vendor does not do right, and a file to show it",
                  (*BASE, "ir", "kit", "runtime", "plugins", "partition", "placement",
                   "frontends", "build", "measure", "bench")),
    "testing": Room("equipment for tests and research: conformance, fake vendors, faults, models",
                    (*BASE, "ir", "kit", "runtime", "plugins", "timing", "partition", "frontends",
                     "build", "bench", "debug", "api")),
    "adopt": Room("changes to a model's source so that it offloads", BASE),
    "cli": Room("the command line, one file a command",
                (*BASE, "report", "kit", "runtime", "plugins", "timing", "partition", "placement",
                 "frontends", "build", "specialise", "executable", "bench", "quantize",
                 "integrations", "debug", "testing", "api", "adopt", "dse")),
    # Still to come: their arrows are decided, their folders are made by who moves in.
    "tuning": Room("search for schedules and vendors' knobs, and their database",
                   (*BASE, "timing", "tir", "host"), built=False),
    "schedules": Room("how a model runs, said in code and verified step by step",
                      (*BASE, "frontends", "partition", "report"), built=False),
    "training": Room("backward graphs, optimisers and whole training steps",
                     (*BASE, "frontends", "partition", "build", "runtime", "schedules"),
                     built=False),
    "serving": Room("an engine for decoders: paged state, scheduler, server",
                    (*BASE, "runtime", "executable", "report"), built=False),
    "programs": Room("programs of many generation calls", (*BASE, "serving"), built=False),
}  # fmt: skip

WITHOUT_TVM = (
    "byoc", "byoc.runtime", "byoc.executable", "byoc.bench", "byoc.report", "byoc.plugins.discovery"
)  # fmt: skip
"""Modules that a fresh process imports without TVM."""

CPP_LAYERS = (
    "threads", "core", "kernels", "plan", "artifact", "guard", "worker", "vm", "model", "bindings",
)  # fmt: skip
"""Folders of runtime/src: a file includes its own layer and those before it."""

VENDOR_NAMED = {
    # engines to compare with, not vendors
    "byoc.bench.engines": {"onnxruntime", "openvino", "torch"},
    "byoc.cli.bench": {"onnxruntime", "openvino"},
    "byoc.quantize.runner": {"onnxruntime"},
    # the format of models, or the package
    "byoc.adopt.spelling": {"torch"},
    "byoc.integrations.source_versions": {"torch"},
    "byoc.frontends.torch": {"torch"},
    "byoc.frontends.torch.exported": {"torch"},
    "byoc.integrations.torch_compile": {"torch"},
    "byoc.kit.torch_steps": {"torch"},
    "byoc.support.block_torch_import": {"torch"},
}
"""Modules outside vendors' folders that may hold a vendor's name as a string, and which."""

SHARED_NAMES: dict[str, str] = {}
"""Public class names that two modules define, and why both may."""

DISTRIBUTIONS = {
    "flatbuffers": "tflite", "google": "protobuf", "pydantic_core": "pydantic", "tvm": "apache-tvm",
    "tvm_ffi": "apache-tvm-ffi", "yaml": "pyyaml", "PIL": "pillow",
}  # fmt: skip
"""Import names whose distribution has another name."""


@pytest.fixture(scope="module")
def checkout() -> Checkout:
    return Checkout(ROOT)


def test_every_module_is_in_a_room(checkout):
    assert rules.homeless(checkout, ROOMS) == []


def test_every_room_says_what_it_is_and_what_it_offers(checkout):
    assert rules.undescribed(checkout) == []


def test_rooms_are_small_enough_to_hold_in_view(checkout):
    assert rules.crowded(checkout, most_modules=20, most_lines=550) == []


def test_imports_obey_the_table(checkout):
    assert rules.wrong_arrows(checkout, ROOMS) == []


def test_the_table_itself_has_no_circle():
    names = list(ROOMS)
    for name, room in ROOMS.items():
        assert set(room.may_import) < set(names), name
        if room.built:
            above = names[: names.index(name)]
            assert set(room.may_import) <= set(above), f"{name} may import a room below it"


def test_no_module_imports_itself_by_a_detour(checkout):
    assert rules.circles(checkout) == []


def test_imports_have_one_style(checkout):
    assert rules.relative_imports(checkout) == []


def test_no_private_name_crosses_a_module(checkout):
    assert rules.private_names(checkout) == []


def test_a_public_class_name_means_one_thing(checkout):
    assert rules.double_names(checkout, SHARED_NAMES) == []


def test_vendors_have_no_name_outside_their_folder(checkout):
    assert rules.vendor_names(checkout, VENDOR_NAMED) == []


def test_vendors_share_one_skeleton(checkout):
    assert rules.skeletons(checkout) == []


def test_third_party_imports_are_declared(checkout):
    assert rules.undeclared(checkout, DISTRIBUTIONS) == []


def test_tests_mirror_the_rooms(checkout):
    assert rules.untested(checkout, ROOMS) == []


def test_cpp_includes_go_one_way(checkout):
    assert rules.wrong_includes(checkout, CPP_LAYERS) == []


def test_functions_are_registered_in_bindings_only(checkout):
    assert rules.stray_registrations(checkout) == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [("docs/architecture.md", rules.as_markdown(ROOMS)), ("README.md", rules.as_list(ROOMS))],
)
def test_the_docs_show_the_same_table(page, expected):
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(r"<!-- rooms -->\n(.*?)<!-- end of rooms -->", text, re.S)
    assert shown, f"{page}: nothing between <!-- rooms --> and <!-- end of rooms -->"
    assert shown[1] == expected, f"{page} differs from ROOMS; it should show:\n{expected}"


# Fresh processes.


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env={**rules.environment(), **environment},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("module", WITHOUT_TVM)
def test_running_a_model_needs_no_tvm(module):
    assert run(f"import {module}, sys; print('tvm' in sys.modules)") == "False"


def test_import_byoc_is_light():
    assert (
        run("import byoc, sys; print([m for m in ('numpy', 'onnx') if m in sys.modules])") == "[]"
    )


@pytest.mark.parametrize("module", ["partition.pipeline", "runtime.session", "vendor_templates"])
def test_the_checkout_resolves_without_being_installed(module):
    """``PYTHONPATH=.`` is enough for whoever reads the tree: no import hook is needed."""
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'ditable' not in type(f).__name__]\n"
        f"import importlib.util as u; print(u.find_spec('byoc.{module}').origin)"
    )
    assert run(code, PYTHONPATH=str(ROOT)).startswith(str(ROOT))


def test_linked_folders_are_never_imported_a_second_time():
    """In the checkout, `partition` is importable beside `byoc.partition`: nobody may do it."""
    assert rules.doubles(Checkout(ROOT), ("tests", "benchmarks", "examples")) == []
    assert not {"partition", "runtime", "vendor_templates"} & set(sys.modules)


# Each rule finds what breaks it: on a copy.


@pytest.fixture
def copy(tmp_path) -> Path:
    """The sources of the checkout, to be broken."""
    for folder in ("byoc", "partition", "runtime", "vendor_templates", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "models", "*.so"),
        )  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def add(path: Path, text: str) -> None:
    """Write a module, or append to one."""
    old = path.read_text(encoding="utf-8") if path.exists() else '"""A module."""\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(old + text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "rule", "complaint"),
    [
        ("byoc/loose.py", "", lambda c: rules.homeless(c, ROOMS), "byoc.loose"),
        ("byoc/cellar/wine.py", "", lambda c: rules.homeless(c, ROOMS), "byoc.cellar"),
        ("runtime/plan.py", "\ndef f() -> None:\n    import byoc.compiler\n",
         lambda c: rules.wrong_arrows(c, ROOMS), "byoc.runtime.plan imports byoc.compiler"),
        ("partition/context.py", "\nif TYPE_CHECKING:\n    from byoc.build.program import x\n",
         lambda c: rules.wrong_arrows(c, ROOMS), "byoc.partition.context imports byoc.build"),
        ("byoc/support/text.py", "\nfrom byoc.support.new import x\n", rules.circles, None),
        ("byoc/support/text.py", "\nfrom .files import write_text\n", rules.relative_imports,
         "byoc.support.text"),
        ("byoc/support/text.py", "\nfrom byoc.support.files import _name\n", rules.private_names,
         "_name"),
        ("byoc/support/text.py", "\nclass Segment:\n    pass\n",
         lambda c: rules.double_names(c, SHARED_NAMES), "Segment"),
        ("partition/pipeline.py", "\nBEST = 'dnnl'\n",
         lambda c: rules.vendor_names(c, VENDOR_NAMED), "'dnnl'"),
        ("byoc/host/lower.py", "\nimport byoc.vendor_templates.npu\n",
         lambda c: rules.wrong_arrows(c, ROOMS), "byoc.vendor_templates.npu"),
        ("vendor_templates/acme/__init__.py", "", rules.skeletons, "acme"),
        ("byoc/support/text.py", "\nimport requests\n",
         lambda c: rules.undeclared(c, DISTRIBUTIONS), "requests"),
        ("runtime/src/core/event.h", '\n#include "model/model.h"\n',
         lambda c: rules.wrong_includes(c, CPP_LAYERS), "core/event.h includes model/model.h"),
        ("runtime/src/plan/plan.cc", "\nrefl::GlobalDef().def(1);\n", rules.stray_registrations,
         "plan/plan.cc"),
    ],
)  # fmt: skip
def test_a_rule_finds_what_breaks_it(copy, name, text, rule, complaint):
    assert rule(Checkout(copy)) == []
    if complaint is None:
        add(copy / "byoc/support/new.py", "\nfrom byoc.support.text import x\n")
        complaint = "byoc.support.new"
    add(copy / name, text)
    found = rule(Checkout(copy))
    assert found and any(complaint in sentence for sentence in found)
