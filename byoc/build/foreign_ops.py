"""The check that no foreign op is left on the host, which has no kernel for it.

In: a partitioned module. Out: nothing, or an error that names the node, says why Relax cannot
express it, and which installed vendor can run it. See `byoc.kit.foreign_op` for what such ops are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from byoc.errors import ByocError, ModelError
from byoc.kit.foreign_op import OP
from byoc.plugins.discovery import find, install_hint, vendors
from byoc.vendor import Vendor

__all__ = ["check_placed", "vendors_of_foreign_ops"]

_RELAX = f"relax.{OP}"


def check_placed(mod: Any, where: str, asked: Sequence[Vendor]) -> None:
    """Refuse a partitioned module that leaves foreign ops on the host.

    Args:
        mod: the partitioned `tvm.IRModule`.
        where: the model's name, for the message.
        asked: the vendors of this run.

    Raises:
        ModelError: a foreign op is on the host; the message says which vendor can take it.
    """
    left = [call for func in _host_functions(mod) for call in _foreign_calls(func.body)]
    if not left:
        return
    first = left[0].attrs
    more = f"; {len(left) - 1} more such nodes" if len(left) > 1 else ""
    names = ", ".join(vendor.name for vendor in asked)
    told = f"; the vendors asked for ({names}) do not take it" if asked else ""
    raise ModelError(
        f"model {where!r}: node {first['node']!r} ({first['op']}) cannot be expressed in Relax "
        f"({first['reason']}) and stays opaque{told}{more}. {_advice(asked)}"
    )


def _advice(asked: Sequence[Vendor]) -> str:
    """What to do about a foreign op, from what vendors say that they take."""
    for vendor in asked:
        if _takes_foreign_ops(vendor):
            return f"the report says why the vendor {vendor.name!r} does not take it"
    for name in vendors_of_foreign_ops():
        return f"a vendor can run it: add the vendor {name!r} ({install_hint(name)})"
    return "no installed vendor runs such nodes: install one that reads ONNX (byoc vendors)"


def vendors_of_foreign_ops() -> Iterator[str]:
    """Names of the installed vendors that say they take foreign ops, in the order of their names.

    A vendor that is blocked or broken is passed over: it is not what was asked about.

    Yields:
        Names, to be given as ``vendors=``. Vendors that are not usable here are among them.
    """
    for info in vendors():
        try:
            vendor = find(info.name)
        except ByocError:
            continue
        if _takes_foreign_ops(vendor):
            yield info.name


def _takes_foreign_ops(vendor: Vendor) -> bool:
    """Whether one of the vendor's patterns names the foreign op."""
    from byoc.partition.matching.compile_pattern import compile_pattern

    try:
        return any(
            OP in compile_pattern(p.name, p.expr, p.parts, vendor.name).ops
            for p in vendor.patterns()
        )
    except Exception:  # a vendor that cannot say what it takes is not recommended
        return False


def _host_functions(mod: Any) -> Iterator[Any]:
    from tvm import relax

    for func in mod.functions.values():
        if isinstance(func, relax.Function) and "Codegen" not in (func.attrs or ()):
            yield func


def _foreign_calls(body: Any) -> Iterator[Any]:
    from tvm import relax

    for block in getattr(body, "blocks", ()):
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.If):
                yield from _foreign_calls(value.true_branch)
                yield from _foreign_calls(value.false_branch)
            elif getattr(getattr(value, "op", None), "name", "") == _RELAX:
                yield value
