"""docs/vendors/: a page per shipped vendor. Its tables are made here, its messages are compared.

What a vendor takes is asked of the partitioner, with the claims of `byoc.testing.conformance` as
one graph: a table shows what patterns and checks answer, not what somebody wrote. Tables stand
between ``<!-- NAME -->`` and ``<!-- end of NAME -->``; ``pytest --update-golden`` writes them.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import byoc
from byoc.plugins.discovery import find
from byoc.testing.conformance import all_cases
from byoc.testing.conformance.edges import FLOATS, WHOLE
from byoc.vendor import NativeRuntime
from byoc.vendor_templates.npu.options import InjectedFault

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "vendors"
SHIPPED = sorted(
    entry.name
    for entry in importlib.metadata.entry_points(group="byoc.vendors")
    if entry.value.startswith("byoc.vendor_templates.")
)
SWEPT = ("dnnl", "onnxruntime", "openvino")
"""Vendors that take ops one by one; `npu` takes quantised composites, `torch` foreign ops."""

DTYPES = (*FLOATS, *WHOLE, "bool")
MANY = 8  # ops of one sentence beyond which only their number is shown


def page(vendor: str) -> Path:
    return PAGES / f"{vendor}.md"


def compare(request: pytest.FixtureRequest, path: Path, name: str, expected: str) -> None:
    """The table of this name on a page; written with --update-golden."""
    text = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    assert start in text and end in text, f"{path.name} has no place for {name}"
    head, rest = text.split(start)
    shown, tail = rest.split(end)
    if request.config.getoption("--update-golden"):
        path.write_text(f"{head}{start}\n{expected.strip()}\n{end}{tail}", encoding="utf-8")
        return
    assert shown.strip() == expected.strip(), f"{path.name}: {name}; run with --update-golden"


def code(words: Any) -> str:
    return ", ".join(f"`{word}`" for word in words)


# -- what it is -----------------------------------------------------------------------------------


def facts(name: str) -> str:
    vendor = find(name)
    native = isinstance(vendor.runtime, NativeRuntime)
    default = "yes" if vendor.default else "no"
    rates = vendor.rates
    rows = {
        "runs": f"native, `lib{vendor.runtime.library}.so`" if native else "hosted in Python",
        "in sessions of C and C++": "yes" if native else "no",
        "processor": f"`{vendor.processor}`",
        "used where one is needed and none is named (`torch.compile`)": default,
        "predicted speed": f"{rates.flops / 1e9:g} GFLOP/s, {rates.bytes / 1e9:g} GB/s inside a "
        f"segment; {rates.launch * 1e6:g} µs a call, {rates.border * 1e6:g} µs and "
        f"{rates.border_bytes / 1e9:g} GB/s a tensor across a border",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


# -- options --------------------------------------------------------------------------------------


def described(model: type) -> dict[str, str]:
    """Field → what its class's docstring says of it."""
    text = inspect.getdoc(model) or ""
    section = re.split(r"^(?:Args|Attributes):\n", text, flags=re.M)
    if len(section) < 2:
        return {}
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section[1] + "\n", re.M | re.S)
    return {name: " ".join(words.split()) for name, words in entries}


def legal(field: Any) -> str:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{choice}"`' for choice in get_args(kind))
    names = [getattr(k, "__name__", str(k)) for k in (get_args(kind) or (kind,))]
    shown = " or ".join(n.replace("NoneType", "None") for n in names)
    if get_origin(kind) is tuple:
        shown = f"list of {names[0]}"
    elif get_args(kind) and get_origin(kind) is dict:
        shown = "dict"
    limits = []
    for limit in field.metadata:
        for attr, sign in (("ge", "≥"), ("le", "≤"), ("lt", "<")):
            if (bound := getattr(limit, attr, None)) is not None:
                limits.append(f"{sign} {bound if isinstance(bound, int) else format(bound, 'g')}")
    return ", ".join([shown, *limits])


def options(model: Any) -> str:
    if not model.model_fields:
        return "None."
    words = described(model)
    rows = ["| option | values | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default!r}`"
        rows.append(f"| `{name}` | {legal(field)} | {default} | {words[name]} |")
    return "\n".join(rows)


# -- what it takes --------------------------------------------------------------------------------


@cache
def claims() -> tuple[Any, tuple[Any, ...]]:
    """All claims side by side in one function, and the claims that TVM has a form of."""
    from tvm import relax

    builder, made, kept = relax.BlockBuilder(), [], []
    cases = [case for case in all_cases() if case.want is not None]
    inputs = [
        [
            relax.Var(f"x{n}_{k}", relax.TensorType(a.shape, str(a.dtype)))
            for k, a in enumerate(feed)
        ]
        for n, feed in enumerate(case.feeds[0] for case in cases)
    ]
    with builder.function("main", [v for some in inputs for v in some]):
        with builder.dataflow():
            for case, some in zip(cases, inputs, strict=True):
                try:
                    made.append(builder.emit(case.build(some), f"case_{len(kept)}"))
                except ValueError:  # reshapes of nothing
                    continue
                kept.append(case)
            result = builder.emit_output(relax.Tuple(made))
        builder.emit_func_output(result)
    return builder.get(), tuple(kept)


def answers(vendor: str) -> list[tuple[str, str, str | None]]:
    """(op, dtype, None or the reason why it stays on the host) of every claim."""
    module, cases = claims()
    report = byoc.partition_model(module, vendors=[vendor], min_segment_ops=1).report
    named = {record.name: record for record in report.ops}
    inner = [r for r in report.ops if not r.name.startswith("case_")]  # inside of a claim's graph
    found = []
    for number, case in enumerate(cases):
        record = named.get(f"case_{number}")
        if record is None or record.op != case.op:
            record = next((r for r in inner if r.op == case.op), record)
        if record in inner:
            inner.remove(record)
        word = case.label.split()[0]
        dtype = word if word in DTYPES else str(case.feeds[0][0].dtype)
        reason = None
        if record.segment is None:
            reason = record.refusals[0].reason if record.refusals else "too small"
            reason = reason.removeprefix(f"{record.op}: ")
        found.append((case.op, dtype, reason))
    return found


def general(reason: str, dtype: str) -> tuple[str, str]:
    """A sentence without the dtypes that it speaks of and without large numbers; which it is of.

    Lists of legal dtypes stay. A cast may be refused for the dtype of its result.
    """
    text = re.sub(r"-?\d{5,}", "…", reason)
    text = re.sub(r"ONNX has no \w+ of", "ONNX has no such operator of", text)
    names = "|".join(sorted(DTYPES, key=len, reverse=True))
    spoken = re.compile(
        rf"(?<![\w.])(?<! and )(?<!needs )(?<! or )(?<! in )"
        rf"((?<=\()(?:{names})(?=\))|(?:{names})(?![\w),]| and| or))"
    )
    named = spoken.findall(text)
    return spoken.sub("…", text), named[0] if named and dtype not in named else dtype


def taken(vendor: str) -> str:
    yes: dict[str, set[str]] = defaultdict(set)
    no: dict[str, set[str]] = defaultdict(set)
    for op, dtype, reason in answers(vendor):
        (yes if reason is None else no)[op].add(dtype)
    rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for op in sorted(yes):
        some = yes[op] & no[op]
        rows[tuple(d + "¹" * (d in some) for d in DTYPES if d in yes[op])].append(op)
    lines = ["| ops | dtypes |", "|---|---|"]
    lines += [f"| {code(ops)} | {', '.join(dtypes)} |" for dtypes, ops in rows.items()]
    lines += ["", "¹ in some forms; the sentences below say which are refused."]
    never = code(sorted(no.keys() - yes.keys()))
    return "\n".join([*lines, "", f"Tried, and left to others: {never}."])


def sentences(vendor: str) -> str:
    said: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for op, dtype, reason in answers(vendor):
        if reason is None or reason.startswith("no pattern of"):
            continue
        text, spoken_of = general(reason, dtype)
        said[text][0].add(op)
        said[text][1].add(spoken_of)
    lines = ["| what the report says | of | dtypes |", "|---|---|---|"]
    for text, (ops, dtypes) in sorted(said.items(), key=lambda item: -len(item[1][0])):
        shown = code(sorted(ops)) if len(ops) <= MANY else f"{len(ops)} ops"
        listed = ", ".join(d for d in DTYPES if d in dtypes)
        lines.append(f"| {text} | {shown} | {listed} |")
    return "\n".join(lines)


def pattern_names(vendor: str) -> str:
    """Patterns by the priority at which they are tried."""
    by: dict[int, list[str]] = defaultdict(list)
    for pattern in find(vendor).patterns():
        by[pattern.priority].append(pattern.name)
    lines = ["| priority | patterns |", "|---|---|"]
    return "\n".join([*lines, *(f"| {p} | {code(by[p])} |" for p in sorted(by, reverse=True))])


def test_each_shipped_vendor_has_a_page():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == SHIPPED


@pytest.mark.parametrize("vendor", SHIPPED)
def test_facts(vendor, request):
    compare(request, page(vendor), "facts", facts(vendor))


@pytest.mark.parametrize("vendor", SHIPPED)
def test_options(vendor, request):
    compare(request, page(vendor), "options", options(find(vendor).options))


def test_faults_of_the_npu(request):
    compare(request, page("npu"), "faults", options(InjectedFault))


@pytest.mark.parametrize("vendor", SWEPT)
def test_what_is_taken_and_refused(vendor, request):
    pytest.importorskip("byoc" if vendor == "dnnl" else vendor)
    compare(request, page(vendor), "taken", taken(vendor))
    compare(request, page(vendor), "refused", sentences(vendor))


@pytest.mark.parametrize("vendor", ["npu", "torch"])
def test_patterns(vendor, request):
    compare(request, page(vendor), "patterns", pattern_names(vendor))


# -- what it says where its library is missing ----------------------------------------------------


class Missing:
    """An import hook: one package is not installed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {self.name!r}", name=self.name)


def said_when_missing(vendor: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    if vendor in ("onnxruntime", "openvino"):
        for name in [n for n in sys.modules if n.partition(".")[0] == vendor]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Missing(vendor), *sys.meta_path])
    elif vendor == "torch":
        monkeypatch.setattr("byoc.vendor_templates.torch.find_spec", lambda name: None)
    elif vendor == "dnnl":

        def files(name: str) -> None:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr("byoc.vendor_templates.dnnl.metadata.files", files)
    return find(vendor).status()


@pytest.mark.parametrize("vendor", ["dnnl", "onnxruntime", "openvino", "torch"])
def test_what_is_said_where_the_library_is_missing(vendor, monkeypatch):
    reason = said_when_missing(vendor, monkeypatch)
    shown = re.findall(
        r"^```text\n(.*?)^```", page(vendor).read_text(encoding="utf-8"), re.M | re.S
    )
    assert reason is not None
    expected = f"vendor {vendor!r} was requested but is not usable: {reason}"
    assert expected in [" ".join(block.split()) for block in shown]
