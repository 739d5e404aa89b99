"""What a converter takes of an operator, so that nothing beyond it passes unseen.

Operators of ONNX Runtime have many optional inputs and attributes, and gain new ones in one and
the same version. A converter states those that it reads; a node that uses others is kept whole for
ONNX Runtime, or refused by name::

    "A  B  bias?  !g_idx"     required, required, optional, known but not read here
    {"K", "N"}, {"bits": 4}   attributes that are read; others may only have the values given
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.onnx.context import OnnxContext, RefusedError

__all__ = ["taking"]


def taking(
    convert: Converter,
    inputs: str,
    attributes: Collection[str] = (),
    fixed: Mapping[str, Any] | None = None,
    outputs: int = 1,
) -> Converter:
    """A converter that first looks whether the node keeps to what it takes.

    Args:
        convert: The converter of nodes that do.
        inputs: Names of the inputs in order: "name?" may be absent, "!name" must be, after
            "name..." as many follow as there are.
        attributes: Those that it reads.
        fixed: Attribute → the value, or the values as a tuple, that it may have besides.
        outputs: How many results the converter gives at most.
    """
    names, legal = inputs.split(), fixed or {}

    def checked(c: OnnxContext) -> Any:
        for place, name in enumerate(names):
            if name.startswith("!") and c[place] is not None:
                raise InexpressibleError(f"its input {name[1:]} is not supported")
            if name[0] != "!" and name[-1] not in "?." and c[place] is None:
                raise RefusedError(f"its input {name} is missing")
        if len(c.inputs) > len(names) and not names[-1].endswith("..."):
            raise RefusedError(f"it has {len(c.inputs)} inputs, the operator takes {len(names)}")
        for name, value in c.attrs.items():
            if name in attributes:
                continue
            if name not in legal:
                raise InexpressibleError(f"its attribute {name!r} is not supported")
            found = value.decode() if isinstance(value, bytes) else value
            values = legal[name] if isinstance(legal[name], tuple) else (legal[name],)
            if found not in values:
                supported = " or ".join(map(repr, values))
                raise InexpressibleError(
                    f"its attribute {name!r} is {found!r}, supported is {supported}"
                )
        if c.outputs > outputs:
            raise InexpressibleError(f"it has {c.outputs} outputs, supported are {outputs}")
        return convert(c)

    return checked
