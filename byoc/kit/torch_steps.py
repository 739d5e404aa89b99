"""Operators of PyTorch as text: what a foreign op ``byoc.torch`` holds (`byoc.kit.foreign_op`).

    inputs   ["tensor", "int"]                       what values 0 and 1 are read as
    steps    aten::mul.Tensor(0, 1)      ─▶ value 2  operators by name, one value each
             aten::abs.default(2)        ─▶ value 3
    results  [3]

Arguments are what JSON has, lists of these, or an object of one key that says what it is::

    {"value": 2}        a value                  {"dtype": "float32"}, {"device": "cpu"},
    {"float": "inf"}    a float JSON lacks       {"layout": "strided"}, {"memory_format": "…"}
    {"complex": [1, 2]} a complex number         {"op": "aten::add.Tensor"} an operator
    {"graph": {…}}      a function: inputs, steps and results again

There is nothing to unpickle: a file from somebody else can call operators that are registered in
the process, by name, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from byoc.kit.own_ops import TORCH, own_call

__all__ = ["FUNCTIONS", "HIGHER_ORDER", "KINDS", "Step", "Steps", "function", "torch_call"]

KINDS = ("tensor", "bool", "int", "float")
"""What a value that comes from outside is read as; all travel as tensors."""

FUNCTIONS: Mapping[str, str] = {
    name: module
    for module, names in {
        "operator": "add and_ eq floordiv ge getitem gt le lshift lt mod mul ne neg not_ or_ pos "
        "pow rshift sub truediv",
        "math": "ceil floor trunc",
        "torch": "sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum",
    }.items()
    for name in names.split()
}
"""Functions of numbers that graphs of torch call, as ``python::add``, and their modules."""

HIGHER_ORDER = (
    "auto_functionalized", "auto_functionalized_v2", "cond", "map_impl", "scan", "while_loop",
)  # fmt: skip
"""Operators of torch over functions that run without a compiler, as ``higher_order::cond``."""


def function(name: str) -> Callable[..., Any]:
    """One of `FUNCTIONS`.

    Args:
        name: Its name.

    Raises:
        ValueError: There is no such function.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"no function of numbers is called {name!r}")
    found: Callable[..., Any] = getattr(import_module(FUNCTIONS[name]), name)
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """One call.

    Attributes:
        op: ``namespace::name.overload``.
        args: Its arguments by position, as the module says.
        kwargs: Its arguments by name.
    """

    op: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Steps:
    """A function in operators of torch.

    Attributes:
        inputs: What each input is read as (`KINDS`), and of a tensor with its axes in another order
            in memory, that order: "tensor:1,0".
        steps: The calls in their order.
        results: What it returns, an argument as the module says.
    """

    inputs: Sequence[str]
    steps: Sequence[Step]
    results: Any

    def to_json(self) -> dict[str, Any]:
        """The function as JSON takes it."""
        steps = [{"op": s.op, "args": list(s.args), "kwargs": dict(s.kwargs)} for s in self.steps]
        return {"inputs": list(self.inputs), "steps": steps, "results": self.results}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Steps:
        """Read what `to_json` wrote.

        Args:
            data: The object.

        Raises:
            ValueError: It is not of that form.
        """
        try:
            steps = [Step(s["op"], tuple(s["args"]), dict(s["kwargs"])) for s in data["steps"]]
            return Steps(tuple(data["inputs"]), tuple(steps), data["results"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"steps of torch are damaged: {error!r}") from None


def torch_call(
    steps: Steps, inputs: Sequence[Any], types: Sequence[Any], *, op: str, node: str, reason: str
) -> Any:
    """Build the Relax call that stands for operators of PyTorch.

    Args:
        steps: The operators.
        inputs: Relax tensors, one per input.
        types: Relax tensor types, one per result.
        op: The operators, for messages.
        node: Their names in the model, different for each call.
        reason: Why Relax cannot express them, one sentence.

    Returns:
        The call; its result is a tuple unless there is one.
    """
    text = json.dumps(steps.to_json(), separators=(",", ":"))
    attrs = {"op": op, "node": node, "reason": reason, "steps": text}
    return own_call(TORCH, inputs, types, attrs)
