"""The Relax function that a walk writes, and the source name of each of its bindings.

All four walks write one function `main` binding by binding and hand it on as a `Graph`::

    operator ──converter──▶ expression ──bind──▶ variable, under the operator's name
                                                 └ main() ─▶ Graph with these names
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import relax

from byoc.frontends.fitting.builder import FittingBuilder
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.normalise.reading import read_function
from byoc.ir.decode import items

__all__ = ["Bindings", "distinct", "packed"]


@dataclass
class Bindings:
    """The bindings of the function that is being written.

    Attributes:
        builder: Relax's block builder, which gives expressions a type and takes bindings.
        names: Variable → name of the operator of the source that it belongs to.
    """

    builder: Any = field(default_factory=FittingBuilder)
    names: dict[Any, str] = field(default_factory=dict)

    def bind(self, expr: Any, name: str) -> Any:
        """Bind an expression to a variable, under the name of its operator.

        Args:
            expr: A Relax expression.
            name: The source name of the operator.

        Returns:
            The variable.
        """
        var = self.builder.emit(expr, name)
        self.names[var] = name
        return var

    def main(self, params: Sequence[Any], body: Callable[[], Any]) -> Graph:
        """Write the function `main`.

        Args:
            params: Its parameters, Relax variables.
            body: Writes the bindings and returns the function's result, a Relax expression.

        Returns:
            The function as a graph; its nodes carry source names.
        """
        with self.builder.function("main", list(params)):
            try:
                result = body()
            except BaseException:
                self.builder._end_block()  # or TVM warns of it on stderr
                raise
            self.builder.emit_func_output(result)
        # Not by its name: where a node is called "main", TVM calls the function "main1".
        [function] = [
            f for f in self.builder.get().functions.values() if isinstance(f, relax.Function)
        ]
        self._spread(function.body)
        return read_function(function, self.names)

    def _spread(self, body: Any) -> None:
        """Give the bindings that a converter made on its way the name of its operator.

        A converter's own bindings stand before the one that has its name.
        """
        name = ""
        for block in reversed(items(body.blocks)):
            for binding in reversed(items(block.bindings)):
                name = self.names.get(binding.var, name)
                if name:
                    self.names[binding.var] = name
                if isinstance(binding.value, relax.If):
                    self._spread(binding.value.true_branch)
                    self._spread(binding.value.false_branch)


def packed(results: Sequence[Any]) -> Any:
    """One result as it is, several as a Relax tuple."""
    return results[0] if len(results) == 1 else relax.Tuple(list(results))


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names, made different where one is repeated: ``x``, ``x_2``."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(found)
