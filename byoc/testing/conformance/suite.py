"""All that a vendor is tried with, cut into tasks that a child process can do one by one.

    plan()   what the vendor takes of all cases ─▶ tasks: claims in batches, traps, modes, options
    run(task) ─▶ outcomes

A task is plain data, and every case is known by its name: a child that starts after a crash goes on
without planning again.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import byoc
from byoc.errors import ByocError
from byoc.kit.capability import capabilities_of
from byoc.partition.matching.match import compile_vendors
from byoc.testing.conformance.boundaries import boundary_layers
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.layers import Layer, as_claim, standing_layers
from byoc.testing.conformance.modes import MODES, compiled, is_installed, wrong_run
from byoc.testing.conformance.options import wrong_options
from byoc.testing.conformance.sweep import all_cases, places, run_claims
from byoc.testing.conformance.traps import Trap, square, traps
from byoc.vendor import Vendor

__all__ = ["ConformanceOutcome", "ConformancePlan", "ConformanceSuite", "Task", "find_vendor"]

Task = dict[str, Any]
"""Kind ("claims", "trap", "mode", "options") and what of it."""

_BATCH = 40


@dataclass(frozen=True)
class ConformanceOutcome:
    """What became of one thing that was tried.

    Attributes:
        group: "claim", "trap", "mode", "options".
        name: What was tried.
        verdict: "right"; "wrong"; "failed" (an error); "crash", "hang"; "skipped".
        detail: What is wrong.
        level: Which level needs it.
        op: The op, of claims.
    """

    group: str
    name: str
    verdict: str
    detail: str = ""
    level: str = "bronze"
    op: str = ""


@dataclass(frozen=True)
class ConformancePlan:
    """What there is to try.

    Attributes:
        tasks: The tasks.
        refused: Cases that the vendor takes nothing of, with its reason.
        outside: How many of these lie outside of its capabilities, and are refused as they must.
        untested: Patterns that take no case.
        patterns: All patterns.
        told: Whether the vendor says as data what it takes.
    """

    tasks: list[Task]
    refused: dict[str, str] = field(default_factory=dict)
    outside: int = 0
    untested: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    told: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


class ConformanceSuite:
    """A vendor, and all that it is tried with.

    Args:
        vendor: The vendor.
        options: Its options.
        only: Cases whose name contains this text.
        most_traps: Layers around which traps are set.
    """

    def __init__(
        self,
        vendor: Vendor,
        options: Mapping[str, Any] | None = None,
        *,
        only: str = "",
        most_traps: int = 2,
    ) -> None:
        self.vendor = vendor
        self.options = dict(options or {})
        self._only = only
        self._most_traps = most_traps
        self._layers = {as_claim(layer).name: layer for layer in self._all_layers()}
        self._cases = {name: as_claim(layer) for name, layer in self._layers.items()}
        for case in self._swept():
            self._cases.setdefault(case.name, case)

    def _all_layers(self) -> Iterator[Layer]:
        (entry,) = compile_vendors([self.vendor])
        self._patterns = [pattern.name for pattern, _ in entry.patterns]
        self._single = {op for _, c in entry.patterns if c.calls == 1 for op in c.ops}
        known = {op for _, c in entry.patterns for op in c.ops}
        self._open = any(not c.ops for _, c in entry.patterns)
        for capability in capabilities_of(self.vendor):
            yield from boundary_layers(capability)
        for layer in standing_layers():
            if layer.op in known and (layer.kinds <= known or self._open):
                yield layer

    def _swept(self) -> Iterator[Claim]:
        """The cases of single ops, where a pattern takes one."""
        yield from (c for c in all_cases() if self._open or c.op in self._single)

    @property
    def _vendors(self) -> dict[Any, Any]:
        return {self.vendor: self.options}

    def plan(self) -> ConformancePlan:
        """Ask what the vendor takes, and list what there is to do.

        Raises:
            VendorError: The vendor breaks its contract when it is asked.
        """
        cases = [case for name, case in self._cases.items() if self._only in name]
        claimed: list[str] = []
        whole: list[str] = []
        refused: dict[str, str] = {}
        outside = 0
        used: set[str] = set()
        for start in range(0, len(cases), _BATCH):
            batch = cases[start : start + _BATCH]
            for case, place in zip(batch, places(batch, self._vendors), strict=True):
                used |= place.patterns
                if case.outside and case.op not in place.taken:
                    outside += 1
                elif place.reason is not None:
                    refused[case.name] = place.reason
                else:
                    claimed.append(case.name)
                    whole += [case.name] if place.whole else []
        tasks: list[Task] = [
            {"kind": "claims", "names": claimed[start : start + _BATCH]}
            for start in range(0, len(claimed), _BATCH)
        ]
        tasks += self._around(whole)
        untested = [name for name in self._patterns if name not in used]
        told = bool(capabilities_of(self.vendor))
        return ConformancePlan(tasks, refused, outside, untested, self._patterns, told)

    def _around(self, whole: Sequence[str]) -> Iterator[Task]:
        units = self._units([name for name in whole if name in self._layers])
        for unit in units:
            for trap in traps(self._layers[unit]):
                if self._only in trap.name or self._only in unit:
                    yield {"kind": "trap", "unit": unit, "name": trap.name}
        for unit in units[:1]:
            for mode in MODES:
                if not self._only or self._only in mode.name:
                    yield {"kind": "mode", "unit": unit, "name": mode.name}
            if self.vendor.options.model_fields:
                yield {"kind": "options", "unit": unit, "name": "options"}

    def _units(self, names: Sequence[str]) -> list[str]:
        """The layers to set traps around: claimed, with weights and most steps; one for each op."""

        def worth(name: str) -> tuple[bool, bool, bool, bool, int]:
            layer = self._layers[name]
            same = square(layer)
            chains = same.right(*same.feed(1)).shape == same.shape
            plain = not layer.special and 0 not in layer.shape and len(layer.shape) > 1
            odd = layer.given or layer.left or any(step in ("residual",) for step, _ in layer.steps)
            claimed = layer.label.startswith("claimed")
            return plain and not odd, chains, layer.weight is not None, claimed, len(layer.steps)

        floats = [n for n in names if self._layers[n].dtype in ("float32", "float64", "float16")]
        best: dict[str, str] = {}
        for name in sorted(floats, key=worth, reverse=True):
            best.setdefault(self._layers[name].op, name)
        chosen = sorted(best.values(), key=worth, reverse=True)
        return chosen[: self._most_traps]

    def run(self, task: Task) -> list[ConformanceOutcome]:
        """Do one task.

        Args:
            task: One of the plan's.
        """
        if task["kind"] == "claims":
            return list(self._claims([self._cases[name] for name in task["names"]]))
        layer = self._layers[task["unit"]]
        if task["kind"] == "trap":
            (trap,) = [trap for trap in traps(layer) if trap.name == task["name"]]
            name = f"{task['unit']}: {trap.name}"
            level = "silver" if trap.sizes else "bronze"
            return [_tried("trap", name, level, lambda: self._trap(trap))]
        trap = _of_modes(layer)
        if task["kind"] == "options":
            return [
                _tried(
                    "options",
                    "options",
                    "silver",
                    lambda: "; ".join(wrong_options(self.vendor, self.options, trap)) or None,
                )
            ]
        (mode,) = [mode for mode in MODES if mode.name == task["name"]]
        run = mode.run
        if mode.installed and not is_installed(self.vendor):
            detail = "the vendor is not installed, so that files cannot name it"
            return [ConformanceOutcome("mode", mode.name, "skipped", detail, mode.level)]
        return [_tried("mode", mode.name, mode.level, lambda: run(self.vendor, self.options, trap))]

    def _trap(self, trap: Trap) -> str | None:
        exe = compiled(self.vendor, self.options, trap)
        for number, given in enumerate(trap.runs()):
            wrong = wrong_run(exe, trap, given)
            if wrong is not None:
                return f"call {number + 1}: {wrong}"
        return None

    def _claims(self, cases: Sequence[Claim]) -> Iterator[ConformanceOutcome]:
        for case, found in zip(cases, run_claims(cases, self._vendors), strict=True):
            verdict, detail = found.verdict, found.detail
            if case.outside and not getattr(self.vendor.patterns, "beside", None):
                verdict = "wrong" if verdict == "right" else verdict
                detail = f"taken, though {case.outside}; {detail}".rstrip("; ")
            yield ConformanceOutcome("claim", case.name, verdict, detail, "bronze", case.op)


def _of_modes(layer: Layer) -> Trap:
    """The trap that every mode is tried with: several results, in another order than made."""
    best = None
    for trap in traps(layer):
        if trap.name.startswith("results in another order"):
            return trap
        best = best or trap
    assert best is not None
    return best


def _tried(group: str, name: str, level: str, what: Any) -> ConformanceOutcome:
    """The outcome of a function that says what is wrong."""
    try:
        wrong = what()
    except ByocError as error:
        return ConformanceOutcome(group, name, "failed", _short(error), level)
    except Exception as error:  # of any kind: that is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{_short(error)} ({where.name}, {where.filename}:{where.lineno})"
        return ConformanceOutcome(group, name, "failed", detail, level)
    return ConformanceOutcome(
        group, name, "right" if wrong is None else "wrong", wrong or "", level
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def find_vendor(name: str) -> Vendor:
    """Return a vendor by its name, or by ``module:ATTRIBUTE``.

    Args:
        name: As users write it.

    Raises:
        VendorError: There is none.
    """
    from importlib import import_module

    from byoc.contract_checks import check_vendor
    from byoc.plugins.discovery import find

    if ":" not in name:
        return find(name)
    module, _, attribute = name.partition(":")
    try:
        value = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise byoc.VendorError(f"cannot import {name!r}: {error}") from error
    return check_vendor(value, name)
