"""The functions that a model brings along: acyclic, and not too large once they are inlined.

Thirty functions that call the next one twice are a billion nodes, and onnx's inliner follows a
function that calls itself until its stack ends; so both are looked for before it runs::

    size(f) = Σ nodes of f: size(g) where g is called, else 1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from byoc.errors import ModelError
from byoc.frontends.onnx.nodes import all_nodes, domain_of, inner_graphs
from byoc.frontends.onnx.wire import MAX_NODES

__all__ = ["check_functions", "spell_defaults"]

_Key = tuple[str, str, str]


def check_functions(model: onnx.ModelProto, where: str) -> None:
    """Check the model's functions before they are inlined.

    Args:
        model: The model.
        where: Its name, as messages begin.

    Raises:
        ModelError: A function calls itself, also by way of others, two have one name, or inlining
            all makes more nodes than byoc reads.
    """
    functions: dict[_Key, onnx.FunctionProto] = {}
    for function in model.functions:
        key = (str(function.domain), str(function.name), str(function.overload))
        if key in functions:
            raise ModelError(f"{where}: the function {_title(key)} is there twice")
        functions[key] = function
    if not functions:
        return
    calls = {key: list(_keys(f.node)) for key, f in functions.items()}
    sizes: dict[_Key, int] = {}
    for key in functions:
        _measure(key, calls, sizes, where)
    total = sum(sizes.get(key, 1) for key in _keys(model.graph.node))
    if total > MAX_NODES:
        raise ModelError(
            f"{where} has more than {MAX_NODES:,} nodes once its functions are inlined; byoc reads "
            f"up to so many"
        )


def spell_defaults(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every default of its functions' attributes on the calls that leave it out.

    `onnx.inliner` knows of no defaults: a reference to an attribute that a call lacks is dropped.

    Returns:
        A copy; the model itself where no function has defaults.
    """
    if not any(f.attribute_proto for f in model.functions):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    defaults = {
        (str(f.domain), str(f.name), str(f.overload)): list(f.attribute_proto)
        for f in copy.functions
    }
    holders = (copy.graph, *copy.functions)
    for node in (node for holder in holders for node in _every(holder.node)):
        given = {a.name for a in node.attribute}
        for attribute in defaults.get((domain_of(node), node.op_type, node.overload), ()):
            if attribute.name not in given:
                node.attribute.append(attribute)
    return copy


def _every(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of their inner graphs."""
    for node in nodes:
        yield node
        for inner in inner_graphs(node):
            yield from all_nodes(inner)


def _measure(key: _Key, calls: dict[_Key, list[_Key]], sizes: dict[_Key, int], where: str) -> None:
    """Note the size of a function and of those it calls; without recursion, chains may be long."""
    path: dict[_Key, Iterator[_Key]] = {key: iter(calls[key])}
    while path:
        current, rest = next(reversed(path.items()))
        called = next((k for k in rest if k in calls and k not in sizes), None)
        if called is None:
            sizes[current] = sum(sizes.get(k, 1) for k in calls[current])
            del path[current]
        elif called in path:
            names = [_title(k) for k in path]
            names = [*names[names.index(_title(called)) :], _title(called)]
            text = " → ".join(names if len(names) < 6 else [*names[:3], "…", *names[-2:]])
            raise ModelError(f"{where}: the function {_title(called)} calls itself: {text}")
        else:
            path[called] = iter(calls[called])


def _keys(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Key]:
    """What each node calls, inner graphs included."""
    for node in _every(nodes):
        yield (domain_of(node), str(node.op_type), str(node.overload))


def _title(key: _Key) -> str:
    return "::".join(part for part in key if part)
