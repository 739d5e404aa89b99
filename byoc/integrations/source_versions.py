"""Two versions of a PyTorch model's source, compared.

``python -m byoc.integrations.source_versions`` answers questions.

A question is a line of JSON, and so is an answer; `byoc.adopt.trial` asks. The first builds the
model as it is, each later one brings files that differ. Equal are: outputs and gradients of
parameters and inputs in train and in eval mode, buffers afterwards, and the outputs of the new
version with the old one's checkpoint, migrated. Numbers are compared in float64 where both versions
compute in it.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from byoc.integrations.source_checkpoint import Migration, migrate, migrate_file
from byoc.integrations.source_coverage import coverage, measure
from byoc.integrations.source_import import imported_file

__all__ = ["main"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 5e-5}


class _DifferError(Exception):
    """Two versions give different results; the message says where."""


class _Versions:
    """The model as it is, and how it is called."""

    def __init__(self, path: str, build: str, call: str, vendors: Sequence[str]) -> None:
        self._path, self._build, self._call = Path(path), build, call
        self._vendors = list(vendors)
        self.model, names = self._built({})
        torch.manual_seed(1)
        self._args, self._kwargs = eval(f"_given({call})", {**names, "_given": _given})
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.is_floating_point():
                    parameter += 0.05 * torch.randn_like(parameter)
        self.dtype = self._dtype()
        self.before = coverage(self.model, self._args, self._kwargs, self._vendors)

    def _built(self, files: Mapping[str, str]) -> tuple[torch.nn.Module, dict[str, Any]]:
        module = imported_file(self._path, {Path(p): t for p, t in files.items()})
        names = {"torch": torch, **vars(module)}
        torch.manual_seed(0)
        model = eval(self._build, names)
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"{self._build} is a {type(model).__name__}, no torch.nn.Module")
        return model, names

    def _dtype(self) -> torch.dtype:
        try:
            self._run(self.model, torch.float64, train=False)
        except Exception:
            self._run(self.model, torch.float32, train=False)
            return torch.float32
        return torch.float64

    def _run(self, model: torch.nn.Module, dtype: torch.dtype, train: bool) -> dict[str, Any]:
        """Outputs, gradients and buffers of one call."""
        model = copy.deepcopy(model).to(dtype).train(train)
        args, kwargs = _mapped((self._args, self._kwargs), lambda t: _leaf(t, dtype))
        torch.manual_seed(7)
        outputs = list(_tensors(model(*args, **kwargs)))
        torch.manual_seed(8)
        floats = [o for o in outputs if isinstance(o, torch.Tensor) and o.requires_grad]
        if floats:
            weighed = [(o * torch.randn(o.shape, dtype=o.dtype)).sum() for o in floats]
            torch.stack(weighed).sum().backward()
        inputs = [t for t in _tensors((args, kwargs)) if isinstance(t, torch.Tensor)]
        return {
            "outputs": [o.detach() if isinstance(o, torch.Tensor) else o for o in outputs],
            "gradients": {n: p.grad if p.grad is not None else torch.zeros_like(p)
                          for n, p in model.named_parameters()},
            "inputs": [t.grad for t in inputs],
            "buffers": dict(model.named_buffers()),
        }  # fmt: skip

    def lines(self) -> dict[str, list[int]]:
        """Lines that run in a call, by file, of the file's own folder."""
        found: dict[str, set[int]] = {}
        folder = str(self._path.parent)

        def trace(frame: Any, event: str, arg: object) -> Any:
            name = frame.f_code.co_filename
            if not name.startswith(folder):
                return None
            found.setdefault(name, set()).add(frame.f_lineno)
            return trace

        for train in (False, True):
            sys.settrace(trace)
            try:
                self._run(self.model, self.dtype, train)
            finally:
                sys.settrace(None)
        return {name: sorted(lines) for name, lines in found.items()}

    def compare(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What a version of the sources gives, beside the one as it is."""
        new, _ = self._built(question["files"])
        changes = [
            Migration(_prefixes(self.model, m["class"]), m["parameters"]) for m in question["maps"]
        ]
        new.load_state_dict(migrate(self.model.state_dict(), changes))
        for train in (False, True):
            mode = "train" if train else "eval"
            a = self._run(self.model, self.dtype, train)
            b = self._run(new, self.dtype, train)
            _same_lists(a["outputs"], b["outputs"], f"outputs in {mode} mode", self.dtype)
            _same_lists(a["inputs"], b["inputs"], f"gradients of inputs in {mode} mode", self.dtype)
            for kind in ("gradients", "buffers"):
                wanted = migrate(a[kind], changes)
                if set(wanted) != set(b[kind]):
                    raise _DifferError(f"{kind}: {sorted(wanted)} became {sorted(b[kind])}")
                for name in wanted:
                    _same(
                        wanted[name], b[kind][name], f"{kind} of {name} in {mode} mode", self.dtype
                    )
        after = coverage(new, self._args, self._kwargs, self._vendors)
        answer = {
            "ok": True,
            "why": "",
            "before": self.before["summary"],
            "after": after["summary"],
        }
        if question.get("checkpoint"):
            migrate_file(question["checkpoint"], question["migrated"], changes)
        if question.get("measure"):
            answer["seconds"] = measure((self.model, new), self._args, self._kwargs, self._vendors)
        return answer


def _given(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def _prefixes(model: torch.nn.Module, owner: str) -> list[str]:
    """Where a model has parts of a class."""
    return [
        f"{name}." if name else ""
        for name, part in model.named_modules()
        if any(c.__name__ == owner for c in type(part).__mro__)
    ]


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, change) for v in value)
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    return value


def _leaf(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    return tensor.detach().to(dtype).clone().requires_grad_()


def _tensors(value: Any) -> Iterator[Any]:
    """Tensors and plain values of a result, in order."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, (torch.Tensor, int, float, bool, str, type(None))):
        yield value
    elif hasattr(value, "__dict__"):
        yield from _tensors(vars(value))


def _same_lists(a: list[Any], b: list[Any], what: str, dtype: torch.dtype) -> None:
    if len(a) != len(b):
        raise _DifferError(f"{what}: {len(a)} became {len(b)}")
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        _same(one, other, f"{what}, number {number}", dtype)


def _same(a: Any, b: Any, what: str, dtype: torch.dtype) -> None:
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        if type(a) is not type(b) or a != b:
            raise _DifferError(f"{what}: {a!r} became {b!r}")
        return
    if a.shape != b.shape or a.dtype != b.dtype:
        raise _DifferError(f"{what}: {a.dtype} {list(a.shape)} became {b.dtype} {list(b.shape)}")
    if not a.is_floating_point():
        if not torch.equal(a, b):
            raise _DifferError(f"{what}: other values")
        return
    limit = _TOLERANCE[dtype] * (1 + float(torch.nan_to_num(a).abs().max()) if a.numel() else 1)
    if not torch.allclose(a, b, rtol=0, atol=limit, equal_nan=True):
        gap = float((a - b).abs().max())
        raise _DifferError(f"{what}: a gap of {gap:.3g}, {limit:.1g} is rounding")


def main() -> None:
    """Answer questions until there are no more; what the model prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    versions: _Versions | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if versions is None:
                versions = _Versions(**question)
                before = versions.before
                answer = {"ok": True, "lines": versions.lines(),
                          "reasons": before["reasons"], "coverage": before["summary"]}  # fmt: skip
            else:
                answer = versions.compare(question)
        except _DifferError as error:
            answer = {"ok": False, "why": str(error)}
        except Exception as error:
            if os.environ.get("BYOC_TRACEBACK", "") not in ("", "0"):
                traceback.print_exc()
            answer = {"ok": False, "why": f"{type(error).__name__}: {str(error).strip()[:500]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
