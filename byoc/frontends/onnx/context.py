"""What a converter of an ONNX operator is given.

ONNX operators change with the opset: what was an attribute becomes an input. So a converter gets no
arguments but this context, and asks::

    c[0], c[2]          inputs, None where one is absent
    c.attrs["axis"]     attributes, as onnx decodes them
    c.opset, c.outputs  the version of the operator's domain, and how many results are wanted
    c.stock("Conv")     what TVM's own importer makes of the node
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from byoc.frontends.context import BaseContext, sentence
from byoc.frontends.helpers import axes_of
from byoc.frontends.onnx.stock import convert_stock

__all__ = ["Attributes", "NodeInputs", "OnnxContext", "RefusedError"]

Attributes = dict[str, Any]


class RefusedError(Exception):
    """No engine may run the node: what it would answer is not what ONNX says.

    Any other exception of a converter says that Relax cannot express the node; then it is kept
    whole for an engine that runs ONNX.
    """


class NodeInputs(list[Any]):
    """The inputs of a node; None where one is absent."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= len(self):
            return None
        return super().__getitem__(index)


@dataclass
class OnnxContext(BaseContext):
    """One ONNX node on its way to Relax.

    Attributes:
        inputs: Its inputs as Relax values; shapes and numbers where the operator takes them.
        attrs: Its attributes by name, lists as tuples.
        opset: The version of its operator set.
        outputs: How many outputs the node lists.
    """

    inputs: NodeInputs
    attrs: Attributes
    opset: int
    outputs: int

    def __getitem__(self, index: int) -> Any:
        """Input `index`, None where it is absent."""
        return self.inputs[index]

    def failure(self, error: Exception) -> Exception:
        """See `BaseContext.failure`; TVM's converters leave a missing attribute to a KeyError."""
        if isinstance(error, KeyError):
            error = ValueError(f"attribute {sentence(error)} is missing")
        return super().failure(error)

    def axis(self, default: int) -> int:
        """The attribute `axis`, counted from the front of the first input's dimensions.

        Raises:
            ValueError: It lies outside them.
        """
        (axis,) = axes_of([self.attrs.get("axis", default)], self[0].ty.ndim)
        return axis

    def axes(self) -> list[int]:
        """The attribute `axes`, counted from the front; every axis of the first input without it.

        Raises:
            ValueError: They lie outside its dimensions, or one is named twice.
        """
        rank = self[0].ty.ndim
        return axes_of(self.attrs.get("axes") or range(rank), rank)

    def reading(
        self,
        inputs: Iterable[Any],
        attrs: Attributes | None = None,
        opset: int | None = None,
        outputs: int | None = None,
    ) -> OnnxContext:
        """The context of a node like this one that reads something else.

        Args:
            inputs: What it reads.
            attrs: Its attributes; this node's, not copied, when left out.
            opset: Its version; this node's when left out.
            outputs: How many outputs it has; as many as this node when left out.
        """
        return replace(
            self,
            inputs=NodeInputs(inputs),
            attrs=self.attrs if attrs is None else attrs,
            opset=self.opset if opset is None else opset,
            outputs=self.outputs if outputs is None else outputs,
        )

    def stock(self, name: str) -> Any:
        """What TVM's converter of an operator makes of this node."""
        return convert_stock(
            name, self.builder, self.inputs, self.attrs, self.opset, outputs=self.outputs
        )
