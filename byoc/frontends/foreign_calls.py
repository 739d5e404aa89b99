"""Foreign ops (`byoc.kit.foreign_op`) in a module, and what to say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from tvm import relax

from byoc.kit.foreign_op import TORCH

__all__ = ["foreign_calls", "told_of_torch"]


def told_of_torch(mod: Any) -> str:
    """Say which operators of PyTorch a model keeps: each with its count, a node and the reason.

    Args:
        mod: the imported `tvm.IRModule`.

    Returns:
        Empty when it keeps none.
    """
    count: Counter[str] = Counter()
    first: dict[str, Any] = {}
    for call in foreign_calls(mod, {TORCH}):
        op = str(call.attrs["op"])
        count[op] += 1
        first.setdefault(op, call.attrs)
    return "; ".join(
        f"{op}, {n} time{'s' * (n != 1)} ({first[op]['node']!r}: {first[op]['reason']})"
        for op, n in count.items()
    )


def foreign_calls(mod: Any, kinds: Collection[str]) -> Iterator[Any]:
    """Find the foreign ops of a module that are in no vendor's segment.

    Args:
        mod: a `tvm.IRModule`, imported or partitioned.
        kinds: of `byoc.kit.foreign_op.FOREIGN`.

    Yields:
        Their calls.
    """
    for func in mod.functions.values():
        if isinstance(func, relax.Function) and "Codegen" not in (func.attrs or ()):
            yield from _inside(func.body, {f"relax.{kind}" for kind in kinds})


def _inside(body: Any, names: Collection[str]) -> Iterator[Any]:
    for block in getattr(body, "blocks", ()):
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.If):
                yield from _inside(value.true_branch, names)
                yield from _inside(value.false_branch, names)
            elif getattr(getattr(value, "op", None), "name", "") in names:
                yield value
