"""One spelling for each operator: ``F.relu(x)``, ``torch.relu(x)``, ``x.relu()`` are relu(x).

Arguments stand in the order of the signatures below, given by name or not, defaults filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from byoc.adopt.values import SourceValue, constant

__all__ = ["LAYERS", "SIGNATURES", "arrange", "canonical", "method_name", "operator_name"]

SIGNATURES = {
    name: tuple(part.split("=") for part in text.split())
    for name, text in {
        "torch.nn.Conv2d": "in_channels out_channels kernel_size",
        "torch.nn.Linear": "in_features out_features bias=True", "torch.nn.ModuleList": "modules",
        "abs": "input", "argmax": "input dim=None keepdim=False", "baddbmm": "input batch1 batch2",
        "bmm": "input other", "cat": "tensors dim=0", "chunk": "input chunks dim=0",
        "clamp": "input min=None max=None", "contiguous": "input",
        "dropout": "input p=0.5 training=True", "einsum": "*", "eq": "input other",
        "erf": "input", "erfc": "input", "exp": "input", "flatten": "input start_dim=0 end_dim=-1",
        "ge": "input other", "gelu": "input approximate='none'", "gt": "input other",
        "le": "input other", "linear": "input weight bias=None", "log": "input",
        "log_softmax": "input dim=None", "logical_not": "input", "lt": "input other",
        "masked_fill": "input mask value", "matmul": "input other",
        "maximum": "input other", "mean": "input dim=None keepdim=False",
        "minimum": "input other", "mul": "input other", "ndtr": "input", "ne": "input other",
        "norm": "input p=2 dim=None keepdim=False", "permute": "input *dims",
        "pow": "input exponent",
        "relu": "input", "reshape": "input *dims", "rsqrt": "input", "sigmoid": "input",
        "silu": "input", "softmax": "input dim=None", "split": "input split_size dim=0",
        "sqrt": "input", "square": "input", "stack": "tensors dim=0", "sub": "input other",
        "sum": "input dim=None keepdim=False", "tanh": "input", "transpose": "input dim0 dim1",
        "unsqueeze": "input dim", "var": "input dim=None keepdim=False unbiased=True",
        "view": "input *dims", "where": "condition input other", "zeros_like": "input",
    }.items()
}  # fmt: skip
"""Operator or layer → its parameters, [name] or [name, default]."""

LAYERS: dict[str, Callable[[str], str]] = {
    "torch.nn.ReLU": lambda layer: "relu",
    "torch.nn.Softmax": lambda layer: "softmax",
    "torch.nn.Dropout": lambda layer: "dropout",
    "torch.nn.GELU": lambda layer: "gelu",
    "torch.nn.Sigmoid": lambda layer: "sigmoid",
    "torch.nn.Tanh": lambda layer: "tanh",
}
"""Layers without parameters → the operator that they are."""

_SYNONYMS = {
    "absolute": "abs", "concat": "cat", "concatenate": "cat", "clip": "clamp",
    "swapaxes": "transpose",
    "swapdims": "transpose", "multiply": "mul", "subtract": "sub", "not_equal": "ne",
    "greater": "gt", "less": "lt", "special.erf": "erf", "special.erfc": "erfc",
    "special.ndtr": "ndtr", "special.log_softmax": "log_softmax", "special.softmax": "softmax",
    "linalg.matmul": "matmul",
}  # fmt: skip
_HOMES = ("torch.nn.functional.", "torch.Tensor.", "torch.")
_KEYWORDS = {
    "axis": "dim",
    "keepdims": "keepdim",
    "self": "input",
    "mat2": "other",
    "value": "value",
}


def operator_name(full: str) -> str | None:
    """Return the operator that a full name means ("torch.nn.functional.relu"); None for none."""
    for home in _HOMES:
        if full.startswith(home):
            name = full[len(home) :]
            name = _SYNONYMS.get(name, name)
            return name if name in SIGNATURES else None
    return None


def method_name(name: str) -> str | None:
    """Return the operator that a method of a tensor is; None for none."""
    name = _SYNONYMS.get(name, name)
    return name if name in SIGNATURES else None


def arrange(
    op: str, args: Sequence[SourceValue], keywords: Mapping[str, SourceValue]
) -> tuple[tuple[SourceValue, ...], tuple[str, ...]] | None:
    """Return arguments in the order of the signature, and the names of those it does not know.

    Args:
        op: The operator.
        args: Given by position.
        keywords: Given by name.

    Returns:
        None where they do not fit the signature.
    """
    given = {_KEYWORDS.get(name, name): value for name, value in keywords.items()}
    left = list(args)
    placed: list[SourceValue] = []
    for parameter in SIGNATURES[op]:
        name = parameter[0]
        if name.startswith("*"):
            placed += [*left, *([given.pop(name[1:])] if name[1:] in given else [])]
            left = []
        elif left:
            placed.append(left.pop(0))
        elif name in given:
            placed.append(given.pop(name))
        elif len(parameter) == 2:
            placed.append(constant(_DEFAULTS[parameter[1]]))
        else:
            return None
    if left:
        return None
    if op == "var" and "correction" in given:
        zero = given.pop("correction")
        placed[3] = constant(bool(zero.detail) if zero.is_number else None)
    extra = tuple(sorted(given))
    return tuple(placed) + tuple(given[name] for name in extra), extra


_DEFAULTS = {"None": None, "False": False, "True": True, "0": 0, "0.5": 0.5, "2": 2, "-1": -1,
             "'none'": "none"}  # fmt: skip


def canonical(
    op: str, args: tuple[SourceValue, ...], extra: tuple[str, ...]
) -> tuple[str, tuple[SourceValue, ...]]:
    """Return the one spelling of an operation that has several.

    Args:
        op: The operator.
        args: Its arguments, in order.
        extra: Names of those that the signature does not know.
    """
    if extra:
        return op, args
    if op in ("permute", "view", "reshape") and len(args) == 2 and args[1].op in ("tuple", "list"):
        args = (args[0], *args[1].args)
    if op in ("mean", "sum", "var") and args[1].op in ("tuple", "list") and len(args[1].args) == 1:
        args = (args[0], args[1].args[0], *args[2:])
    if op == "bmm":
        first, second = args
        if second.op == "transpose" and _axes(second) in ({1, 2}, {-1, -2}):
            second = _like(second, "mT", second.args[:1])
        return "matmul", (first, second)
    if op == "transpose" and _axes(_pair(args)) in ({-1, -2}, {2, 3}):
        return "mT", args[:1]
    if op == "permute" and [a.detail for a in args[1:]] == [0, 1, 3, 2]:
        return "mT", args[:1]
    if op == "pow" and args[1].is_number:
        exponent = args[1].detail
        if exponent == 2:
            return "square", args[:1]
        if exponent == 0.5:
            return "sqrt", args[:1]
        if exponent == -0.5:
            return "rsqrt", args[:1]
    if op == "mul" and args[0] is args[1]:
        return "square", args[:1]
    if op == "logical_not":
        return "not", args
    if op == "view":
        return "reshape", args
    return op, args


def _axes(value: SourceValue) -> set[object]:
    return {a.detail for a in value.args[1:]}


def _pair(args: tuple[SourceValue, ...]) -> SourceValue:
    return SourceValue("transpose", args)


def _like(value: SourceValue, op: str, args: tuple[SourceValue, ...]) -> SourceValue:
    return SourceValue(op, args, None, value.expr, value.statement, value.frame, value.context)
