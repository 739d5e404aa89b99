"""What a converter of a Relay operator is given besides the call's arguments and attributes.

A converter takes (context, the call's arguments…, *, attributes…): its positional parameters are
Relay's arguments, its keyword parameters Relay's attributes with Relay's defaults. Anything it
raises becomes an error at the call's place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tvm import relax

from byoc.frontends.context import BaseContext, sentence
from byoc.frontends.helpers import const, is_const
from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.relay.syntax import At, PlaceError

__all__ = ["RelayContext"]


@dataclass
class RelayContext(BaseContext):
    """One call of a Relay operator on its way to Relax.

    Attributes:
        at: Where the call stands in the file. `what` is the operator's name.
        version: Of the TVM that wrote the file, "" where it does not tell.
    """

    at: At
    version: str = ""

    def before(self, minor: int) -> bool:
        """True where the file tells that it is of a TVM before 0.`minor`."""
        found = re.match(r"0\.(\d{1,4})(?!\d)", self.version)
        return found is not None and int(found[1]) < minor

    def typed(self, expr: Any) -> Any:
        """The expression with its type; a constant where it can be computed now."""
        if is_const(expr) or isinstance(expr, relax.Var):
            return expr
        folded = fold_expression(expr, lambda var: None)
        return self.builder.normalize(expr) if folded is None else const(folded)

    def failure(self, error: Exception) -> Exception:
        """What the user is told of an exception, at the place of the call."""
        return PlaceError(self.at, f"{self.what}: {sentence(error)}")
