"""Every claim of a vendor at the edges of its dtypes, compared with what is right.

In: a vendor, by name or as a value. Out: a `ClaimOutcome` of each: right, wrong, refused (not a
claim, with the vendor's reason), failed (an error where there should be numbers, or numbers where
there should be an error).

Cases are asked for, compiled and run many at once, as one graph of graphs; those of a graph that
fails are run again one by one, so that each has a verdict of its own. Each call is proved as
``BYOC_CHECK=1`` does, unless the environment says otherwise.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

import byoc
from byoc.errors import VendorError
from byoc.segment import Array
from byoc.testing.conformance.claim import Claim, Numbers
from byoc.testing.conformance.elementwise import elementwise_cases
from byoc.testing.conformance.movement import movement_cases
from byoc.testing.conformance.neural import neural_cases
from byoc.testing.conformance.recurrent import recurrent_cases
from byoc.testing.conformance.reductions import reduction_cases
from byoc.testing.on_purpose import accident
from byoc.vendor import Vendor

if TYPE_CHECKING:
    import tvm

__all__ = ["ClaimOutcome", "ClaimPlace", "all_cases", "as_json", "places", "run_claims", "sweep"]

_TOGETHER = 40
_LARGEST = {
    **{name: float(np.finfo(name).max) for name in ("float16", "float32", "float64")},
    "bfloat16": 3.3895313892515355e38,
}

VendorOptions = Mapping[str, Any]


@dataclass(frozen=True)
class ClaimOutcome:
    """What became of one case.

    Attributes:
        op: The op that was tried.
        label: Which form of it.
        verdict: "right", "wrong", "failed" or "refused".
        detail: What differs, the error, or why it is refused.

    """

    op: str
    label: str
    verdict: str
    detail: str = ""


def all_cases() -> Iterator[Claim]:
    """Yield every case, always the same ones in the same order."""
    yield from elementwise_cases()
    yield from reduction_cases()
    yield from movement_cases()
    yield from neural_cases()
    yield from recurrent_cases()


def sweep(
    vendor: str | Vendor | None,
    cases: Iterable[Claim] | None = None,
    *,
    options: VendorOptions | None = None,
    each: Callable[[ClaimOutcome], None] | None = None,
) -> list[ClaimOutcome]:
    """Put a vendor's claims to the test.

    Args:
        vendor: Name or value; None: byoc's own host kernels.
        cases: What to try; None: all.
        options: The vendor's options.
        each: Called with each finding as it comes.

    Returns:
        The findings, in the order of the cases but for refusals, which come first in their batch.

    """
    vendors: dict[Any, Any] = {} if vendor is None else {vendor: dict(options or {})}
    found: list[ClaimOutcome] = []

    def add(finding: ClaimOutcome) -> None:
        found.append(finding)
        if each is not None:
            each(finding)

    remaining = iter(all_cases() if cases is None else cases)
    with _proved():
        while batch := list(islice(remaining, _TOGETHER)):
            for finding in _batch(batch, vendors):
                add(finding)
    return found


@contextmanager
def _proved() -> Iterator[None]:
    """Let what is loaded meanwhile be proved at every call."""
    if "BYOC_CHECK" in os.environ:
        yield
        return
    os.environ["BYOC_CHECK"] = "1"
    try:
        yield
    finally:
        del os.environ["BYOC_CHECK"]


def as_json(vendor: str, findings: Sequence[ClaimOutcome]) -> dict[str, Any]:
    """Return findings as plain data: counts, and all that is not right.

    Args:
        vendor: Its name.
        findings: What `sweep` returned.

    """
    verdicts = Counter(finding.verdict for finding in findings)
    ops = sorted({f.op for f in findings if f.verdict != "refused"})
    return {
        "vendor": vendor,
        "counts": dict(sorted(verdicts.items())),
        "claimed_ops": ops,
        "findings": [asdict(f) for f in findings if f.verdict != "right"],
    }


def _batch(cases: Sequence[Claim], vendors: Mapping[Any, Any]) -> Iterator[ClaimOutcome]:
    claimed: list[Claim] = []
    for case, place in zip(cases, places(cases, vendors), strict=True):
        if place.reason is None:
            claimed.append(case)
        else:
            yield ClaimOutcome(case.op, case.label, "refused", place.reason)
    yield from run_claims(claimed, vendors)


def run_claims(claimed: Sequence[Claim], vendors: Mapping[Any, Any]) -> Iterator[ClaimOutcome]:
    """Run cases that a vendor takes: in one graph, and one by one where that fails.

    Args:
        claimed: The cases.
        vendors: The vendor with its options.

    """
    together = [case for case in claimed if case.want is not None]
    try:
        verdicts = _run(together, vendors)
    except Exception:  # of any kind: one case's failure must not hide the others
        verdicts = None
    for case in claimed:
        if verdicts is not None and case.want is not None:
            yield verdicts[case.name]
        else:
            yield _alone(case, vendors)


def _alone(case: Claim, vendors: Mapping[Any, Any]) -> ClaimOutcome:
    try:
        finding = _run([case], vendors)[case.name]
    except Exception as error:  # of any kind, see above
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        legal = (
            case.want is None
            and accident(error) is None
            and re.search(case.words, text) is not None
        )
        return ClaimOutcome(case.op, case.label, "right" if legal else "failed", text)
    return finding


@dataclass(frozen=True)
class ClaimPlace:
    """Where a case goes.

    Attributes:
        reason: Why nothing of it is taken; None where some is.
        whole: Whether all of it is taken.
        taken: The ops that are taken.
        patterns: Those that take them.

    """

    reason: str | None
    whole: bool = False
    taken: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()


def places(cases: Sequence[Claim], vendors: Mapping[Any, Any]) -> list[ClaimPlace]:
    """Ask the vendor who runs what, for each case.

    Args:
        cases: The cases; one question is asked for all of them where TVM has all of their forms.
        vendors: The vendor with its options; empty: byoc's own host kernels, which take all.

    """
    try:
        module = _module(cases)
        if not vendors:
            return [ClaimPlace(None, whole=True) for _ in cases]
        report = byoc.partition_model(module, vendors, min_segment_ops=1).report
    except VendorError:
        raise
    except Exception as error:  # TVM has no form of one of them
        if len(cases) == 1:
            return [ClaimPlace(f"TVM has no such form: {' '.join(str(error).split())[:200]}")]
        half = len(cases) // 2
        return [*places(cases[:half], vendors), *places(cases[half:], vendors)]
    found = [ClaimPlace("it is no op at all after folding") for _ in cases]
    of_case: list[Any] = []
    for record in report.ops:  # those of a case end with the one that has its name
        of_case.append(record)
        if record.name.startswith("case_") and record.name[5:].isdecimal():
            found[int(record.name[5:])] = _place(of_case)
            of_case = []
    return found


def _place(records: Sequence[Any]) -> ClaimPlace:
    ours = [record for record in records if record.segment is not None]
    if not ours:
        return ClaimPlace(_said(next((r for r in records if r.refusals), records[-1])))
    return ClaimPlace(
        None,
        len(ours) == len(records),
        frozenset(record.op for record in ours),
        frozenset(record.pattern for record in ours if record.pattern),
    )


def _said(record: Any) -> str:
    return record.refusals[0].reason if record.refusals else f"{record.op} stays on the host"


def _module(cases: Sequence[Claim]) -> tvm.IRModule:
    """One function; the results of all cases side by side."""
    from tvm import relax

    for case in cases:
        case.build(_variables(case, 0))  # a builder that is given up writes to stderr
    inputs = [_variables(case, n) for n, case in enumerate(cases)]
    builder = relax.BlockBuilder()
    with builder.function("main", [v for some in inputs for v in some]):
        with builder.dataflow():
            made = []
            for n, (case, some) in enumerate(zip(cases, inputs, strict=True)):
                made.append(builder.emit(case.build(some), f"case_{n}"))
            result = builder.emit_output(relax.Tuple(made))
        builder.emit_func_output(result)
    return builder.get()


def _variables(case: Claim, number: int) -> list[Any]:
    from tvm import relax

    return [
        relax.Var(f"x{number}_{k}", relax.TensorType(array.shape, str(array.dtype)))
        for k, array in enumerate(case.feeds[0])
    ]


def _run(cases: Sequence[Claim], vendors: Mapping[Any, Any]) -> dict[str, ClaimOutcome]:
    """Run cases in one graph, as often as the longest list of numbers says."""
    worst = {case.name: ClaimOutcome(case.op, case.label, "right") for case in cases}
    # Shapes differ between the feeds of a case: a graph for each combination.
    for feeds in _rounds(cases):
        used = [case for case, feed in zip(cases, feeds, strict=True) if feed is not None]
        numbers = [feed for feed in feeds if feed is not None]
        shaped = [_with_feed(case, feed) for case, feed in zip(used, numbers, strict=True)]
        exe = byoc.compile(_module(shaped), vendors, min_segment_ops=1)
        results = exe(*(array for feed in numbers for array in feed))
        if not isinstance(results, (list, tuple)):
            results = (results,)
        for case, feed, got in zip(used, numbers, results, strict=True):
            detail = _difference(case, feed, np.asarray(got))
            if detail and worst[case.name].verdict == "right":
                verdict = "failed" if case.want is None else "wrong"
                worst[case.name] = ClaimOutcome(case.op, case.label, verdict, detail)
    return worst


def _rounds(cases: Sequence[Claim]) -> Iterator[list[Numbers | None]]:
    most = max((len(case.feeds) for case in cases), default=0)
    for k in range(most):
        yield [case.feeds[k] if k < len(case.feeds) else None for case in cases]


def _with_feed(case: Claim, feed: Numbers) -> Claim:
    return replace(case, feeds=(feed,))


def _difference(case: Claim, feed: Numbers, got: Array) -> str:
    """What is not right about a result, in words; empty where nothing is."""
    if case.want is None:
        return f"an answer, {_first(got)}, where an error must name {case.words!r}"
    with np.errstate(all="ignore"):
        want = np.asarray(case.want(*feed))
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"{got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
        bad = _unequal(got, want, case.loose, case.near)
        if case.open is not None:
            bad &= ~np.broadcast_to(case.open(*feed), bad.shape)
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    given = ""
    try:
        shown = [np.broadcast_to(x, got.shape)[at] for x in feed]
        given = f" of {', '.join(str(s) for s in shown)}"
    except ValueError:
        pass  # not an op of one number each
    return (
        f"{int(bad.sum())} of {bad.size} differ: at {list(at)} {got[at]}, right {want[at]}{given}"
    )


def _unequal(got: Array, want: Array, loose: float, near: float) -> Array:
    if want.dtype.kind in "biu":
        return np.asarray(got != want)
    g, w = got.astype(np.float64), want.astype(np.float64)
    # Results below the least normal number may be flushed to 0.
    tiny = 1e-37 if want.dtype.itemsize == 4 or "bfloat" in str(want.dtype) else 0.0
    near = max(near, tiny)
    close = np.isfinite(w) & (np.abs(g - w) <= near + loose * np.abs(w))
    # What overflows a little later is near an infinity; the largest number itself stands for
    # "no infinity here", as pools begin with it.
    most = _LARGEST.get(str(want.dtype), np.inf)
    late = (
        np.isinf(w) & (np.sign(g) == np.sign(w)) & (np.abs(g) >= 0.97 * most) & (np.abs(g) < most)
    )
    return np.asarray(~((g == w) | (np.isnan(g) & np.isnan(w)) | close | late))


def _first(got: Array) -> str:
    return str(got.ravel()[:3].tolist())
