"""What a converter is given, whatever the format.

One signature for all formats::

    convert(context, *arguments, **attributes) → a Relax expression, or several

The context comes first. Where an operator has a schema whose arguments have names or an order of
their own (Relay, ATen), these follow; where operators are read out of a table with versions (ONNX,
TFLite), the format's context holds inputs and attributes, and nothing follows.

Each format extends `BaseContext` in its own `context.py`. Tables map an operator to its converter
(`ops/table.py` of the format); they are values, merged by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import relax
from tvm.ir import GenericConst

from byoc.errors import ModelError
from byoc.frontends.bindings import Bindings
from byoc.support.last_line import last_line

__all__ = ["BaseContext", "Converter", "InexpressibleError", "sentence"]

Converter: TypeAlias = Callable[..., Any]
"""``convert(context, *arguments, **attributes)``, see above. Any exception that it raises says that
the operator cannot be expressed; `BaseContext.failure` tells the user where and why."""


class InexpressibleError(Exception):
    """The operator cannot be said in Relax; the message says why."""


@dataclass
class BaseContext:
    """One operator on its way to Relax.

    Attributes:
        bindings: The function that is being written.
        what: The model and the operator, as messages begin: "model 'm': node 'n' (Add, opset 13)".
    """

    bindings: Bindings
    what: str

    @property
    def builder(self) -> Any:
        """Relax's block builder."""
        return self.bindings.builder

    def typed(self, expr: Any) -> Any:
        """The expression with its type inferred; nothing is bound."""
        if isinstance(expr, (relax.Var, GenericConst)):
            return expr
        return self.builder.normalize(expr)

    def emit(self, expr: Any) -> Any:
        """The expression as a variable; variables and constants as they are."""
        if isinstance(expr, (relax.Var, GenericConst)):
            return expr
        return self.builder.emit(expr)

    def failure(self, error: Exception) -> Exception:
        """What the user is told of an exception that a converter raised."""
        return ModelError(f"{self.what} cannot be imported: {sentence(error)}")


def sentence(error: Exception) -> str:
    """What an exception says, in one line of at most 400 characters: TVM's begin with a trace.

    TVM prints its operators with all their fields, and errors of Python speak of classes; both are
    put into the words of somebody who wrote a model.
    """
    text = _OPERATOR.sub(r"\1", last_line(error, 2000)) if str(error).strip() else ""
    if isinstance(error, AttributeError) and _NO_VALUE.search(text):
        text = "one of its operands is computed by the model; byoc needs it as a constant"
    elif isinstance(error, (AttributeError, IndexError, TypeError, AssertionError)):
        text = f"its operands or attributes are not what the operator takes ({text or 'no reason'})"
    text = text or type(error).__name__
    return text if len(text) < 400 else text[:400] + "…"


_OPERATOR = re.compile(r"ir\.Op\(span=.*?name=\"(?:relax\.)?([\w.]+)\".*?support_level=\d+\)")
_NO_VALUE = re.compile(
    r"'(?:Var|DataflowVar|Call|TupleGetItem)' object has no attribute '(?:value|data)'"
)
