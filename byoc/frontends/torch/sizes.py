"""Symbolic sizes of torch (sympy expressions) as expressions of TVM.

s77            → the variable "batch" when the program's author named it, else "s77"
2*s77 + 1      → 2*batch + 1
s77//2         → floor division, which torch writes FloorDiv
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from tvm import tirx

from byoc.frontends.symbols import Symbols

__all__ = ["Sizes", "names_of_symbols"]


@dataclass
class Sizes:
    """The symbolic sizes of one program.

    Attributes:
        names: What to call a symbol of torch, where it has a better name.
        symbols: The variables, by their names; two symbols of one `Dim` share one.
        known: Symbol → variable, of those that an input's shape defines; others cannot be computed.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    symbols: Symbols = field(default_factory=Symbols)
    known: dict[str, Any] = field(default_factory=dict)

    def size(self, value: Any, define: bool = False) -> Any:
        """An int, or the TVM expression of a `torch.SymInt`.

        Args:
            value: The size.
            define: True for a dimension of an input, which gives a lone symbol its value.

        Raises:
            ValueError: The size depends on data, or on something that is no size.
        """
        if isinstance(value, int):
            return value
        expr = value.node.expr
        if expr.is_Integer:
            return int(expr)
        if define and expr.is_Symbol and str(expr) not in self.known:
            name = self.names.get(str(expr), str(expr))
            self.known[str(expr)] = self.symbols.variable(name)
        return self._convert(expr)

    def shape(self, sizes: Any, define: bool = False) -> list[Any]:
        """Return each dimension of a shape as an int or a TVM expression.

        Args:
            sizes: The dimensions, ints or `torch.SymInt`s.
            define: True for the shape of an input, which gives lone symbols their values.

        Raises:
            ValueError: A size depends on data, or on something that is no size.
        """
        return [self.size(d, define) for d in sizes]

    def _convert(self, expr: Any) -> Any:
        if expr.is_Integer:
            return tirx.IntImm("int64", int(expr))
        if expr.is_Symbol:
            if str(expr) in self.known:
                return self.known[str(expr)]
            if str(expr).startswith("u"):
                raise ValueError(f"the size {expr} depends on values of tensors")
            raise ValueError(f"the size {expr} is no dimension of an input")
        args = [self._convert(a) for a in expr.args]
        kind = type(expr).__name__
        if kind == "Add":
            return reduce(lambda a, b: a + b, args)
        if kind == "Mul":
            return reduce(lambda a, b: a * b, args)
        if kind == "Pow" and expr.args[1].is_Integer and int(expr.args[1]) > 0:
            return reduce(lambda a, b: a * b, [args[0]] * int(expr.args[1]))
        if kind in ("FloorDiv", "CleanDiv", "IntTrueDiv") and len(args) == 2:
            return tirx.floordiv(*args)
        if kind in ("Mod", "PythonMod"):
            return tirx.floormod(*args)
        if kind == "CeilToInt" and len(args) == 1:
            return args[0]
        if kind == "Max":
            return reduce(tirx.max, args)
        if kind == "Min":
            return reduce(tirx.min, args)
        raise ValueError(f"the size {expr} cannot be computed by a compiled model ({kind})")


def names_of_symbols(shape_env: Any) -> dict[str, str]:
    """The names authors gave to dimensions (`torch.export.Dim("batch")`), by torch's symbol."""
    names: dict[str, str] = {}
    given = getattr(shape_env, "source_name_to_debug_name", None) or {}
    for symbol, sources in (getattr(shape_env, "var_to_sources", None) or {}).items():
        for source in sources:
            spelled = source.name() if callable(source.name) else source.name
            name = given.get(spelled, "")
            if re.fullmatch(r"[A-Za-z_]\w*", name):
                names.setdefault(str(symbol), name)
    return names
