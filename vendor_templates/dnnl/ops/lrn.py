"""Local response normalisation across channels, which exporters spell with a pool over channels."""

from __future__ import annotations

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp
from byoc.vendor_templates.dnnl.ops.calls import call, constant, either, something
from byoc.vendor_templates.dnnl.ops.rule import Idiom, Spelling
from byoc.vendor_templates.dnnl.ops.spelling import function_of, peel_linear

__all__ = ["IDIOMS"]


def _spell() -> Spelling:
    """x / (k + alpha * mean(x * x)) ** beta, where the mean is a pool with channels as depth"""
    x = something()
    wide = call("expand_dims", call("multiply", x, x))
    mean = call("squeeze", either(call("nn.avg_pool3d", wide), call("nn.avg_pool2d", wide)))
    below = call("add", call("multiply", mean, constant()), constant())
    return Spelling(call("divide", x, call("power", below, constant())), {"data": x})


def _rewrite(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x / (k + alpha * avg_pool_over_channels(x * x)) ** beta = lrn(x)

    The pool sees channels as a spatial dim: [N, C, H, W] → [N, 1, C, H, W].
    """
    x, below = op.inputs
    power = function_of(graph, below, "pow", "sqrt")
    if power is None or graph.rank(x) < 3:
        return False
    beta = 0.5 if power.attrs["alg"] == "sqrt" else power.attrs["beta"]
    mean, alpha, k = peel_linear(graph, power.inputs[0])
    flat = graph.made_by(mean, "reshape")
    pool = graph.made_by(flat.inputs[0], "pooling") if flat is not None else None
    wide = graph.made_by(pool.inputs[0], "reshape") if pool is not None else None
    square = function_of(graph, wide.inputs[0], "square") if wide is not None else None
    if pool is None or wide is None or square is None or square.inputs[0] != x:
        return False
    if power.attrs["alg"] == "pow" and power.attrs["alpha"] != 1:
        return False
    n, c, *spatial = graph.shape(x)
    size, *rest = pool.attrs["kernel"]
    ones = [1] * len(rest)
    if graph.shape(wide.out) != (n, 1, c, *spatial) or rest != ones or size % 2 == 0:
        return False
    if pool.attrs["alg"] != "avg_include_pad" or pool.attrs["strides"] != [1, *ones]:
        return False
    pads = [size // 2, *([0] * len(rest))]
    if pool.attrs["pads_begin"] != pads or pool.attrs["pads_end"] != pads:
        return False
    attrs = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    graph.morph(op, "lrn", [x], attrs)
    return True


IDIOMS = (Idiom("lrn", _spell, "div", _rewrite),)
