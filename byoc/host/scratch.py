"""What kernels ask for while they run: borders of padded inputs, packed weights.

In: kernels while TVM compiles them. Out: the memory they need beside a plan's own::

    conv:  workspace(pad, 1.2 MB)  workspace(tile, 4 KB) … given back      {"conv": (1.2 MB, 4 KB)}

The runtime keeps what it gave for the next kernel (runtime/src/core/workspace.cc), so a plan holds
more than its greediest kernel asks for: `scratch_bytes` plays that through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from byoc.support.memory import ALIGNMENT, round_up

__all__ = ["Noting", "scratch_bytes"]

_KEPT_BLOCKS, _KEPT_BYTES = 16, 64 << 20
"""As runtime/src/core/workspace.cc has them."""


@tvm.instrument.pass_instrument
class Noting:
    """A pass instrument of TVM that notes what workspaces kernels ask for.

    Attributes:
        found: Kernel → bytes of each workspace.

    """

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, ...]] = {}

    def run_after_pass(self, mod: Any, info: Any) -> None:
        """Record the scratch memory that kernels ask for; TVM calls this after each pass.

        Args:
            mod: The module as the pass left it.
            info: Describes the pass; only the one that lowers calls to builtins is looked at.
        """
        if str(info.name) != "tirx.LowerTVMBuiltin":
            return
        for var, func in mod.functions_items():
            if isinstance(func, tirx.PrimFunc):
                self.found[var.name_hint] = tuple(_asked(func))


def _asked(func: Any) -> Iterable[int]:
    sizes: list[int] = []

    def visit(call: Any) -> None:
        if getattr(call.op, "name", "") != "tirx.TVMBackendAllocWorkspace":
            return
        size = call.args[2]
        if isinstance(size, tirx.IntImm):  # others depend on symbolic shapes
            sizes.append(int(size))

    tvm_ffi.structural_walk(func.body, (Call, visit))
    return sizes


def scratch_bytes(calls: Iterable[str], asked: Mapping[str, tuple[int, ...]]) -> int:
    """Return the most bytes that workspaces take together while kernels run in order.

    Args:
        calls: Names of the kernels, in the order they run.
        asked: What `Noting` found. Everything a kernel asks for is taken to be in use at once, by
            one thread.

    """
    kept: list[int] = []
    most = 0
    for name in calls:
        taken = []
        for size in asked.get(name, ()):
            wanted = max(ALIGNMENT, round_up(size))
            fitting = [has for has in kept if wanted <= has <= 2 * wanted + 1]
            if fitting:
                kept.remove(min(fitting))
            taken.append(min(fitting, default=wanted))
        most = max(most, sum(kept) + sum(taken))
        for block in reversed(taken):
            if block > _KEPT_BYTES:
                continue
            kept.append(block)
            while len(kept) > _KEPT_BLOCKS or sum(kept) > _KEPT_BYTES:
                kept.pop(0)
    return most
