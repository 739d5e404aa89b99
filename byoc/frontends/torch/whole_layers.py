"""Recurrent layers of a symbolic length, which torch's tracing cannot take.

torch finds the types of results of LSTM, GRU and RNN by running them step by step, which makes the
number of steps a constant. While `whole_layers` is on, a rule tells them instead::

    input [T, B, I] ─ lstm ─▶ output [T, B, D·P], h [D·layers, B, P], c [D·layers, B, H]
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch.fx.experimental.proxy_tensor import get_proxy_mode

__all__ = ["whole_layers"]

_OPS = tuple(
    getattr(torch.ops.aten, name).input for name in ("gru", "lstm", "rnn_relu", "rnn_tanh")
)
_lock = threading.RLock()


@contextmanager
def whole_layers() -> Iterator[None]:
    """Let programs be exported, and decomposed, with recurrent layers of symbolic lengths.

    torch holds its rules for the whole process: other threads wait here, and should not trace
    meanwhile.
    """
    with _lock:
        tables = [op.py_kernels for op in _OPS]
        saved = [dict(table) for table in tables]
        rules = {op: decomposition_table[op] for op in _OPS if op in decomposition_table}
        try:
            for op, table in zip(_OPS, tables, strict=True):
                table.update({key: _rule(op, usual) for key, usual in table.items()})
            decomposition_table.update({op: _rule(op, usual) for op, usual in rules.items()})
            _forget()
            yield
        finally:
            for table, kernels in zip(tables, saved, strict=True):
                table.clear()
                table.update(kernels)
            decomposition_table.update(rules)
            _forget()


def _forget() -> None:
    """Let torch look its rules up again."""
    for op in _OPS:
        op._dispatch_cache.clear()


def _rule(op: Any, usual: Any) -> Any:
    """torch's rule of one operator, but for inputs whose length is symbolic."""

    def results(*args: Any, **kwargs: Any) -> Any:
        call = _Call(op, args, kwargs)
        # Where what a rule does is recorded it must compute the results.
        if not isinstance(call.steps, torch.SymInt) or get_proxy_mode() is not None:
            return usual(*args, **kwargs)
        return call.results()

    return results


class _Call:
    """One call of an operator, with its arguments by name."""

    def __init__(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = [argument.name for argument in op._schema.arguments]
        self.given = {**dict(zip(names, args, strict=False)), **kwargs}

    @property
    def steps(self) -> Any:
        return self.given["input"].shape[1 if self.given["batch_first"] else 0]

    def results(self) -> tuple[torch.Tensor, ...]:
        """Tensors of the shapes of the results, for their types only."""
        x, hx = self.given["input"], self.given["hx"]
        torch._check(self.steps > 0, lambda: "Expected sequence length to be larger than 0 in RNN")
        states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
        width = states[0].shape[2] * (2 if self.given["bidirectional"] else 1)
        return (x.new_empty([*x.shape[:2], width]), *(s.new_empty(s.shape) for s in states))
