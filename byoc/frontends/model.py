"""`Model`: what every frontend delivers, a module in normal form with the names of its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tvm

from byoc.frontends.normalise.graph import Graph
from byoc.frontends.normalise.pipeline import normalise_graph
from byoc.frontends.normalise.writing import write_function
from byoc.segment import PortType

if TYPE_CHECKING:
    from byoc.partition.placing.policy import Rule

__all__ = ["Model", "finish"]


@dataclass(frozen=True)
class Model:
    """A model as the rest of byoc sees it.

    Attributes:
        mod: One `IRModule`; `main` takes the model's inputs only, weights are constants.
        name: Short name for reports (the file's stem, or the graph's own name).
        inputs: Names of the inputs as the model file spells them, in `main`'s order.
        outputs: The same of the outputs.
        source: What it was read from ("onnx", "tflite", "torch", "relay", "relax").
        values: Ports that are no tensors → what they are ("seq(tensor(float))"); in `main` they
            are handles (`byoc.runtime.value_handles`).
        versions: Operator set → its version, where the source has any.
        operators: Operator as the source spells it → how often it stands there, where a frontend
            tells.
        defaults: Inputs that callers may give instead of what is stored; `main` has them as
            constants.
        rules: Constraints on the placement that the source holds; they come before the user's.
    """

    mod: tvm.IRModule
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)
    defaults: tuple[PortType, ...] = ()
    rules: tuple[Rule, ...] = ()


def finish(
    graph: Graph,
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    source: str,
    *,
    values: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    operators: Mapping[str, int] | None = None,
    defaults: tuple[PortType, ...] = (),
) -> Model:
    """The model of a graph that a frontend has read.

    Args:
        graph: What the walk wrote; it is brought into normal form in place.
        name: See `Model`, as for the other arguments.
        inputs: See `Model`.
        outputs: See `Model`.
        source: See `Model`.
        values: See `Model`.
        versions: See `Model`.
        operators: See `Model`.
        defaults: See `Model`.
    """
    normalise_graph(graph)
    function = write_function(graph).with_attrs({"num_input": len(inputs), "global_symbol": "main"})
    return Model(
        tvm.IRModule({"main": function}),
        name,
        inputs,
        outputs,
        source,
        values or {},
        versions or {},
        operators or {},
        defaults,
    )
