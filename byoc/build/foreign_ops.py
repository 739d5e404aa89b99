"""Foreign ops find a vendor: the host has no kernel for them.

    imported module ──▶ vendors that it needs, unasked: those of its own framework
    partitioned module ──▶ nothing, or an error that names the node that is left on the host, says
                           why Relax cannot express it, and which installed vendor can run it

See `byoc.kit.foreign_op` for what such ops are. Operators of PyTorch bring their engine along: who
has such a model has torch. ONNX nodes do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from byoc.errors import ByocError, ModelError, VendorError
from byoc.frontends.foreign_calls import foreign_calls
from byoc.kit.foreign_op import FOREIGN, OP, TORCH
from byoc.plugins.discovery import Requested, find, install_hint, resolve, vendors
from byoc.vendor import Vendor

__all__ = ["check_placed", "vendors_of_foreign_ops", "with_torch"]


def with_torch(requests: Sequence[Requested]) -> tuple[Requested, ...]:
    """Add the vendor that runs operators of PyTorch, for a model that needs it, if nobody asked.

    Args:
        requests: the vendors that were asked for.

    Returns:
        The vendors, with one more at the end unless one of them takes such ops, or none can be
        used here.
    """
    if any(_takes(request.vendor, TORCH) for request in requests):
        return tuple(requests)
    for name in vendors_of_foreign_ops(TORCH):
        try:
            return (*requests, *resolve([name]))
        except VendorError:  # `check_placed` tells which ops that leaves alone
            continue
    return tuple(requests)


def check_placed(mod: Any, where: str, asked: Sequence[Vendor]) -> None:
    """Refuse a partitioned module that leaves foreign ops on the host.

    Args:
        mod: the partitioned `tvm.IRModule`.
        where: the model's name, for the message.
        asked: the vendors of this run.

    Raises:
        ModelError: a foreign op is on the host; the message says which vendor can take it.
    """
    left = list(foreign_calls(mod, FOREIGN))
    if not left:
        return
    first, kind = left[0].attrs, left[0].op.name.removeprefix("relax.")
    more = f"; {len(left) - 1} more such nodes" if len(left) > 1 else ""
    names = ", ".join(vendor.name for vendor in asked)
    told = f"; the vendors asked for ({names}) do not take it" if asked else ""
    raise ModelError(
        f"model {where!r}: node {first['node']!r} ({first['op']}) cannot be expressed in Relax "
        f"({first['reason']}) and stays opaque{told}{more}. {_advice(asked, kind)}"
    )


def _advice(asked: Sequence[Vendor], kind: str) -> str:
    """What to do about a foreign op, from what vendors say that they take."""
    for vendor in asked:
        if _takes(vendor, kind):
            return f"the report says why the vendor {vendor.name!r} does not take it"
    for name in vendors_of_foreign_ops(kind):
        return f"a vendor can run it: add the vendor {name!r} ({install_hint(name)})"
    reads = "reads ONNX" if kind == OP else "runs operators of PyTorch"
    return f"no installed vendor runs such nodes: install one that {reads} (byoc vendors)"


def vendors_of_foreign_ops(kind: str = OP) -> Iterator[str]:
    """Names of the installed vendors that say they take foreign ops, in the order of their names.

    A vendor that is blocked or broken is passed over: it is not what was asked about.

    Args:
        kind: one of `byoc.kit.foreign_op.FOREIGN`.

    Yields:
        Names, to be given as ``vendors=``. Vendors that are not usable here are among them.
    """
    for info in vendors():
        try:
            vendor = find(info.name)
        except ByocError:
            continue
        if _takes(vendor, kind):
            yield info.name


def _takes(vendor: Vendor, kind: str) -> bool:
    """Whether one of the vendor's patterns names the foreign op."""
    from byoc.partition.matching.compile_pattern import compile_pattern

    try:
        return any(
            kind in compile_pattern(p.name, p.expr, p.parts, vendor.name).ops
            for p in vendor.patterns()
        )
    except Exception:  # a vendor that cannot say what it takes is not recommended
        return False
