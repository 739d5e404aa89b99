"""What a model is when names and weights are left out: one mark per op, one for the whole.

    x ─ conv2d ─ relu ─ add     mark of add = hash of  "add", its attributes, the types of what it
         └──────────────┘                              reads and writes, where each argument comes
                                                       from: "2 ops back, first result"

Marks depend on an op and its nearest neighbourhood, so that an op put in or taken out changes few
of them; the whole is the hash of all marks in order. Distances stand for edges, since indices
would change behind every insertion. Symbolic dimensions are numbered as they are met.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import tvm

from byoc.dims import names
from byoc.ir.decode import Decoder
from byoc.kit.foreign_op import OP as ONNX
from byoc.kit.foreign_op import TORCH, model_of
from byoc.partition.snapshot.bindings import flatten
from byoc.partition.snapshot.functions import functions_of
from byoc.partition.snapshot.graph import OpGraph
from byoc.partition.snapshot.walk import take_snapshot

__all__ = ["MARK_DIGITS", "Identity", "identify"]

MARK_DIGITS = 4
"""Hexadecimal digits of an op's mark."""

_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a model is when names and weights are left out.

    Attributes:
        structure: hash of the module, 16 hexadecimal digits.
        marks: one per op, in the order of `PartitionReport.ops`; `MARK_DIGITS` digits each.
    """

    structure: str
    marks: tuple[str, ...]


def identify(mod: tvm.IRModule) -> Identity:
    """The identity of a module before it is partitioned; the same in every process."""
    decoder = Decoder()
    whole = sha256()
    marks: list[str] = []
    for _, func in functions_of(mod):
        graph = take_snapshot(func, "", decoder)
        spell = _Spelling(graph)
        whole.update(repr([spell.type(graph.value_of(p)) for p in func.params]).encode())
        for node in range(len(graph)):
            digest = sha256(_signature(graph, node, spell).encode())
            whole.update(digest.digest())
            marks.append(digest.hexdigest()[:MARK_DIGITS])
        whole.update(repr(_results(graph)).encode())
    return Identity(whole.hexdigest()[:16], tuple(marks))


class _Spelling:
    """Types and attributes as text, without the names of symbolic dimensions."""

    def __init__(self, graph: OpGraph) -> None:
        self.graph = graph
        self.symbols: dict[str, str] = {}
        self._types: dict[int, str] = {}
        for value in range(len(graph.values.types)):
            kind = graph.values.types[value]
            if kind is not None and not kind.is_static:
                for dim in kind.shape:
                    for name in sorted(names(dim), key=str(dim).find):
                        self.symbols.setdefault(name, f"${len(self.symbols)}")

    def type(self, value: int) -> str:
        kind = self.graph.values.types[value]
        if kind is None:
            return "?"
        found = self._types.get(id(kind))  # equal types are one object
        if found is None:
            found = self._types[id(kind)] = f"{kind.dtype}{self.attr(kind.shape)}"
        return found

    def attr(self, value: Any) -> str:
        """An attribute; texts inside of tuples may be dimensions."""
        if isinstance(value, tuple):
            parts = [self._dim(v) if isinstance(v, str) else self.attr(v) for v in value]
            return f"({','.join(parts)})"
        if isinstance(value, Mapping):
            return f"{{{','.join(f'{k}:{self.attr(value[k])}' for k in sorted(value))}}}"
        return repr(value)

    def _dim(self, text: str) -> str:
        return _WORD.sub(lambda word: self.symbols.get(word[0], word[0]), text)


def _signature(graph: OpGraph, node: int, spell: _Spelling) -> str:
    """All that tells this op from another, but names and weights."""
    attrs = graph.attrs(node)
    if graph.ops.kind[node] == ONNX:
        attrs = {"onnx": _onnx(attrs)}
    elif graph.ops.kind[node] == TORCH:
        attrs = {"steps": attrs["steps"]}
    sources = []
    for value in graph.ops.ins[node]:
        before = graph.values.producer[value]
        if before >= 0:
            sources.append(f"{node - before}.{graph.ops.outs[before].index(value)}")
        else:
            sources.append("constant" if value in graph.values.constants else "input")
    return "|".join(
        [
            graph.ops.kind[node],
            ",".join([f"{key}={spell.attr(attrs[key])}" for key in sorted(attrs)]),
            ",".join([spell.type(v) for v in graph.ops.ins[node]]),
            ",".join(sources),
            ",".join([spell.type(v) for v in graph.ops.outs[node]]),
        ]
    )


def _onnx(attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    """ONNX nodes kept whole, their tensors numbered as they are met."""
    model = model_of(attrs)
    number: dict[str, int] = {"": -1}
    nodes = []
    for node in model.graph.node:
        ends = [number.setdefault(name, len(number)) for name in (*node.input, *node.output)]
        found = sorted(
            (a.name, a.type, a.f, a.i, a.s, tuple(a.floats), tuple(a.ints), tuple(a.strings))
            for a in node.attribute
        )
        nodes.append((node.domain, node.op_type, tuple(ends), tuple(found)))
    return tuple(nodes)


def _results(graph: OpGraph) -> list[tuple[int, int]]:
    """The function's results, as (op, which of its results); (-1, 0) for what no op makes."""
    found = []
    for ref in flatten(graph.result):
        for value in graph.values.leaves(ref):
            node = graph.values.producer[value]
            found.append((node, graph.ops.outs[node].index(value) if node >= 0 else 0))
    return found
