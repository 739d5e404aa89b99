"""Inputs that have a default: constants until a caller gives them.

    run({x})      ──▶ the model as it was compiled, defaults folded into it
    run({x, w})   ──▶ a model in which w is an input, compiled when it is first given

ONNX lists such stored tensors among the graph's inputs. Few callers ever give one, so that it costs
nothing until then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byoc.runners.runner import Runner
from byoc.segment import PortType

__all__ = ["Overrides"]


@dataclass
class Overrides:
    """What runs when a caller gives an input that has a default.

    Attributes:
        names: the inputs that have none, in order.
        ports: those that have one.
        build: compiles the model with some of these as inputs, by name.
    """

    names: tuple[str, ...]
    ports: tuple[PortType, ...]
    build: Callable[[frozenset[str]], Runner]
    _built: dict[frozenset[str], Runner] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def chosen(self, inputs: Sequence[Any]) -> tuple[Runner, tuple[Any, ...]] | None:
        """Return the runner for a call and what it is called with; None where no default is given.

        Args:
            inputs: in order, those with defaults last, all of them or none; or one mapping by name.
        """
        named = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        optional = [port.name for port in self.ports]
        if named:
            given = inputs[0]
        elif len(inputs) == len(self.names) + len(optional):
            given = dict(zip((*self.names, *optional), inputs, strict=True))
        else:
            return None
        overridden = frozenset(name for name in optional if name in given)
        if not overridden:
            return None
        with self._lock:
            if overridden not in self._built:
                self._built[overridden] = self.build(overridden)
            runner = self._built[overridden]
        if named:
            return runner, (given,)
        return runner, tuple(given[port.name] for port in runner.program.inputs)
