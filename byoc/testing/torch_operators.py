"""torch's own samples of its operators (`op_db`) as small models, and how byoc does with each.

A sample of an operator is arguments; its tensors become the model's inputs, everything else stays
as it is. The model is exported, compiled and run; eager torch is the reference::

    op_db ──samples──▶ Sample ──export──▶ program ──byoc.compile──▶ outputs ─compare─▶ Outcome
                          └──────eager torch────────────────────────▶ expected ──┘
"""

from __future__ import annotations

import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import byoc
from byoc.testing.on_purpose import accident

__all__ = ["Outcome", "Sample", "evaluate", "operators", "samples"]

_RANDOM = (
    "rand", "bernoulli", "multinomial", "normal", "dropout", "uniform", "exponential", "cauchy",
    "geometric", "empty", "poisson", "rrelu", "new_empty", "jiterator", "sparse",
)  # fmt: skip
"""Parts of names of operators that have no one right answer, or no dense one."""

_TOLERANCES = {"float64": 1e-7, "float32": 2e-4, "float16": 5e-3, "bfloat16": 4e-2}
"""How far a number may be off, relative to the largest of its result."""


@dataclass(frozen=True)
class Sample:
    """One way to call an operator.

    Attributes:
        name: The operator, its dtype and the number of the sample.
        call: Takes the tensors, gives what the operator gives.
        tensors: The tensors among its arguments.
        arguments: The others, shapes of tensors included, for people.
    """

    name: str
    call: Callable[..., Any]
    tensors: tuple[torch.Tensor, ...]
    arguments: str


@dataclass(frozen=True)
class Outcome:
    """What came of one sample.

    Attributes:
        kind: "right", "wrong", "refused" (byoc says so), "raw" (an error by accident), "skipped"
            (eager or torch's export refuses, or two eager runs differ).
        detail: Why.
    """

    kind: str
    detail: str = ""


def operators() -> list[Any]:
    """Return torch's entries of `op_db` that have one right, dense answer."""
    if "expecttest" not in sys.modules:  # torch imports it for tests of its own
        stub = types.ModuleType("expecttest")
        stub.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        stub.assert_expected_inline = None  # type: ignore[attr-defined]
        sys.modules["expecttest"] = stub
    from torch.testing._internal.common_methods_invocations import op_db

    return [op for op in op_db if not any(part in op.name for part in _RANDOM)]


def samples(op: Any, dtype: torch.dtype, limit: int | None = None) -> Iterator[Sample]:
    """Yield samples of an operator, the same ones every time.

    Args:
        op: An entry of `op_db`.
        dtype: Of the samples.
        limit: So many, spread over all.
    """
    if dtype not in op.supported_dtypes("cpu"):
        return
    torch.manual_seed(0)
    try:
        found = list(op.sample_inputs("cpu", dtype, requires_grad=False))
    except Exception:
        return  # torch cannot make them on this machine
    count = len(found)
    numbers: Sequence[int] = range(count)
    if limit is not None and limit < count:
        numbers = sorted({round(i * (count - 1) / max(limit - 1, 1)) for i in range(limit)})
    variant = f".{op.variant_test_name}" if op.variant_test_name else ""
    for number in numbers:
        sample = found[number]
        flat, spec = torch.utils._pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        places = [i for i, value in enumerate(flat) if isinstance(value, torch.Tensor)]

        def call(
            *tensors: Any, flat: Any = tuple(flat), spec: Any = spec, places: Any = tuple(places)
        ) -> Any:
            given = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                given[place] = tensor
            first, args, kwargs = torch.utils._pytree.tree_unflatten(given, spec)
            return op.op(first, *args, **kwargs)

        shown = [
            f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else value
            for value in flat
        ]
        tensors = tuple(flat[i].detach() for i in places)
        name = f"{op.name}{variant} {str(dtype).removeprefix('torch.')} {number}"
        yield Sample(name, call, tensors, str(shown))


class _Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.call(*tensors)


def evaluate(sample: Sample, vendors: Sequence[str]) -> Outcome:
    """Export, compile and run one sample, and compare it with eager torch.

    Args:
        sample: The sample.
        vendors: Of `byoc.compile`.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = _arrays(sample.call(*_copies(sample)))
            again = _arrays(sample.call(*_copies(sample)))
            if not sample.tensors or _difference(again, expected):
                return Outcome("skipped", "no tensors, or another answer every time")
            program = torch.export.export(_Model(sample.call), _copies(sample))
        except Exception as error:
            return Outcome("skipped", f"torch: {type(error).__name__}: {str(error)[:200]}")
        try:
            exe = byoc.compile(
                program, vendors=list(vendors), min_segment_ops=1, min_segment_flops=0
            )
            found = exe(*_copies(sample))
        except Exception as error:
            why = accident(error)
            return Outcome("raw", f"{why}: {error}") if why else Outcome("refused", str(error))
        given = list(found) if isinstance(found, tuple) else [found]
        difference = _difference([np.asarray(a) for a in given], expected)
        return Outcome("wrong", difference) if difference else Outcome("right")


def _copies(sample: Sample) -> tuple[torch.Tensor, ...]:
    return tuple(t.clone(memory_format=torch.preserve_format) for t in sample.tensors)


def _arrays(value: Any) -> list[Any]:
    return [
        _array(leaf)
        for leaf in torch.utils._pytree.tree_leaves(value)
        if isinstance(leaf, torch.Tensor)
    ]


def _array(tensor: torch.Tensor) -> Any:
    plain = tensor.detach().resolve_neg().resolve_conj()
    if plain.dtype is torch.bfloat16:
        import ml_dtypes

        return plain.float().numpy().astype(ml_dtypes.bfloat16)
    return plain.numpy().copy()


def _difference(found: Sequence[Any], expected: Sequence[Any]) -> str:
    if len(found) != len(expected):
        return f"{len(found)} results, expected {len(expected)}"
    for number, (f, e) in enumerate(zip(found, expected, strict=True)):
        text = _unlike(f, e)
        if text:
            return f"result {number}: {text}"
    return ""


def _unlike(found: Any, expected: Any) -> str:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
    name = expected.dtype.name
    if name not in _TOLERANCES:
        wrong = found != expected
    else:
        f, e = found.astype(np.float64), expected.astype(np.float64)
        known = np.isfinite(e)
        scale = max(float(np.abs(e[known]).max(initial=0)), 1e-6)
        with np.errstate(all="ignore"):
            near = np.abs(f - e) <= _TOLERANCES[name] * scale
        wrong = ~np.where(known, near, (f == e) | (np.isnan(f) & np.isnan(e)))
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} wrong, at {at}: {found[at]}, expected {expected[at]}"
    )
