"""Products of integers with constant weights: ``matmul(astype(x) [- zero], w)`` in int32.

That is what ONNX's MatMulInteger is, and so what models are that were quantised dynamically.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc.vendor import Match, Pattern, Reject

__all__ = ["patterns"]


def patterns() -> Sequence[Pattern]:
    """Return the product of what was shifted by a zero point, and the plain one."""
    from tvm.relax.dpl import is_const, is_op, wildcard

    def product(shifted: bool) -> Pattern:
        parts: dict[str, Any] = {"data": wildcard(), "weight": is_const()}
        wide = is_op("relax.astype")(parts["data"])
        if shifted:
            parts["zero"] = wildcard()
            wide = is_op("relax.subtract")(wide, is_op("relax.astype")(parts["zero"]))
        root = is_op("relax.matmul")(wide, parts["weight"])
        name = "shifted_product" if shifted else "product"
        return Pattern(name, root, parts, _check, priority=int(shifted))

    return [product(True), product(False)]


def _check(match: Match) -> Reject | None:
    data, weight = match.type("data"), match.constant("weight")
    assert weight is not None
    if data.dtype not in ("uint8", "int8"):
        return Reject(f"the data of an integer product is uint8 or int8, found {data.dtype}")
    if not data.is_static or not data.size:
        return Reject(f"the data {data} has symbolic or no elements")
    if weight.ndim != 2 or not weight.size or len(data.shape) < 2:
        return Reject(
            f"a product of {data} with weights of shape {weight.shape} is no mk, kn -> mn"
        )
    if match.nodes[-1].attrs.get("out_dtype") not in ("int32", None) or weight.dtype != "int32":
        return Reject(f"an integer product is summed in int32, found weights of {weight.dtype}")
    if weight.min() < -128 or weight.max() > 127:
        return Reject(
            f"the weights do not fit int8: they are {weight.min()} to {weight.max()}, their zero "
            f"point included"
        )
    if match.has("zero"):
        zero = match.type("zero")
        if zero.dtype not in ("uint8", "int8") or zero.size != 1:
            return Reject(f"one zero point of uint8 or int8 is taken, found {zero}")
    return None
