"""`compile_segment`: a segment becomes the program of program.md.

::

    Segment ──normalise──▶ DnnlGraph ──passes──▶ DnnlGraph ──encode──▶ JSON + constants
             ops/, one rule      passes/, in           the artifact
             per Relax op        the order of PASSES

Composites are not looked at: fusion works on the flat graph, so it also crosses their borders.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from byoc.dims import canonical
from byoc.errors import CompileError
from byoc.segment import Array, Artifact, Dim, Segment, TensorType
from byoc.vendor_templates.dnnl.checks import check_tensors, first
from byoc.vendor_templates.dnnl.dims import bind
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp, PostOp
from byoc.vendor_templates.dnnl.ops import RULES
from byoc.vendor_templates.dnnl.options import DnnlOptions
from byoc.vendor_templates.dnnl.passes import ALWAYS, PASSES, narrow

__all__ = ["PROGRAM_VERSION", "compile_segment"]

PROGRAM_VERSION = 1


def compile_segment(segment: Segment, options: DnnlOptions) -> Artifact:
    """Turn a segment into an artifact: a program for libbyoc_dnnl.so, with its constants.

    Args:
        segment: What the partitioner gave to this vendor.
        options: What the user asked of it.

    Returns:
        The program as JSON (program.md), the arrays it reads, and a note for the report.

    Raises:
        CompileError: Naming segment, op and source, when an op is not supported, or when a
            symbolic dimension cannot be computed from the shapes of the segment's inputs.

    """
    graph = normalise(segment)
    for run in PASSES if options.fuse else ALWAYS:
        run(graph)
    if options.precision == "bf16":
        narrow(graph)
    _separate_outputs(graph)
    return encode(graph, segment, options)


class _Tensors:
    """A segment as the checks see a match."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def type(self, part: int, /) -> TensorType:
        return self._segment.values[part]

    def constant(self, part: int, /) -> Array | None:
        return self._segment.constants.get(part)


def normalise(segment: Segment) -> DnnlGraph:
    """The segment, op by op, in the ops of program.md; nothing is fused yet.

    Raises:
        CompileError: When an op has no rule, or its rule refuses it.

    """
    tensors = _Tensors(segment)
    for node in segment.nodes:
        rule = RULES.get(node.op)
        where = f"dnnl: segment {segment.name!r}, op {node.op!r} ({', '.join(node.source) or '-'})"
        if rule is None:
            raise CompileError(f"{where} is not supported; the supported ops are in its README")
        refusal = first(check_tensors(node, tensors), rule.check(node, tensors))
        if refusal is not None:
            raise CompileError(f"{where} is not supported: {refusal.reason}")
    graph = DnnlGraph(TensorType(tuple(map(canonical, v.shape)), v.dtype) for v in segment.values)
    graph.constants.update(segment.constants)
    graph.inputs = list(segment.inputs)
    graph.outputs = list(segment.outputs)
    for node in segment.nodes:
        graph.source = node.source
        inputs = tuple(graph.resolve(v) for v in node.inputs)
        RULES[node.op].lower(graph, replace(node, inputs=inputs))
    graph.prune()
    return graph


def _separate_outputs(graph: DnnlGraph) -> None:
    """Give every output its own value, made by an op: outputs are written in place."""
    seen: set[int] = set()
    graph.source = ()
    for place, value in enumerate(graph.outputs):
        if value in seen or value not in graph.producer:
            kind = graph.type(value)
            value = graph.emit("reshape", [value], kind.shape, kind.dtype)
            graph.outputs[place] = value
        seen.add(value)


def encode(graph: DnnlGraph, segment: Segment, options: DnnlOptions) -> Artifact:
    """The program as JSON, with values renumbered in order of appearance.

    Raises:
        CompileError: When the inputs' shapes do not determine a variable that is used.

    """
    order = dict.fromkeys(graph.inputs)
    for op in graph.ops:
        order.update(dict.fromkeys((*op.reads, *op.outputs)))
    ids = {value: position for position, value in enumerate(order)}
    types = [graph.type(v) for v in ids]
    input_dims = [d for v in graph.inputs for d in graph.shape(v)]
    try:
        renamed = bind(input_dims, [d for t in types for d in t.shape] + _attr_dims(graph))
    except ValueError as error:
        raise CompileError(f"dnnl: segment {segment.name!r}: {error}") from None
    arrays: list[Array] = []
    constants: dict[str, int] = {}
    for value, position in ids.items():
        if (array := graph.constants.get(value)) is not None:
            constants[str(position)] = len(arrays)
            arrays.append(array)
    program = {
        "version": PROGRAM_VERSION,
        "instances": options.instances,
        "values": [
            {"shape": [renamed.get(d, d) for d in t.shape], "dtype": t.dtype} for t in types
        ],
        "inputs": [ids[v] for v in graph.inputs],
        "outputs": [ids[v] for v in graph.outputs],
        "constants": constants,
        "ops": [_encode_op(op, ids, renamed) for op in graph.ops],
    }
    blob = json.dumps(program, separators=(",", ":"), allow_nan=False).encode()
    return Artifact(segment.name, segment.vendor, blob, tuple(arrays), _notes(graph))


def _attr_dims(graph: DnnlGraph) -> list[Dim]:
    """Symbolic dims in attributes: only slices have them."""
    slices = (op.attrs for op in graph.ops if op.kind == "slice")
    return [d for attrs in slices for d in (*attrs["begin"], *attrs["end"])]


def _encode_op(op: DnnlOp, ids: dict[int, int], renamed: dict[Dim, Dim]) -> dict[str, Any]:
    attrs = op.attrs
    if op.kind == "slice":
        dims = {k: [renamed.get(d, d) for d in attrs[k]] for k in ("begin", "end")}
        attrs = {**attrs, **dims}
    return {
        "kind": op.kind,
        "inputs": [ids[v] for v in op.inputs],
        "outputs": [ids[v] for v in op.outputs],
        "attrs": attrs,
        "post": [_encode_post_op(p, ids) for p in op.post],
        "source": op.source[-1] if op.source else "",
    }


def _encode_post_op(post: PostOp, ids: dict[int, int]) -> dict[str, Any]:
    if post.alg == "requantize":
        params = {"scale": post.scale, "zero": post.zero}
        return {"post": "requantize", **params, "low": post.alpha, "high": post.beta}
    if post.value is not None:
        found: dict[str, Any] = {"post": "binary", "alg": post.alg, "value": ids[post.value]}
        return found if post.scale is None else {**found, "scale": post.scale, "zero": post.zero}
    return {"post": "eltwise", "alg": post.alg, "alpha": post.alpha, "beta": post.beta}


def _notes(graph: DnnlGraph) -> tuple[str, ...]:
    """What the report says: how many ops are left, and how many were fused into them."""
    fused = sum(len(op.post) for op in graph.ops)
    kinds = Counter(op.kind for op in graph.ops)
    most = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    notes = (f"{len(graph.ops)} ops ({most}), {fused} fused as post-ops",)
    narrow_ops = sum(op.attrs.get("bf16", False) for op in graph.ops)
    if not narrow_ops:
        return notes
    stored = sum(graph.type(v).dtype == "bfloat16" for op in graph.ops for v in op.outputs)
    return (*notes, f"bfloat16: {narrow_ops} products compute with it, {stored} values are stored")
