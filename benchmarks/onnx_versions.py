"""Every version of every ONNX operator that byoc converts, against ONNX Runtime.

    python benchmarks/onnx_versions.py                        all operators, twelve cases a version
    python benchmarks/onnx_versions.py --cases 40 --only Resize,Clip
    python benchmarks/onnx_versions.py --only Resize --opset 13 --case 7       one case, its model

A case is one node: of one operator, in the opset of one of its versions (the first, and the last
before the next version), with attributes, dtypes, absent operands and constants drawn by a seed
that is made of exactly these: (operator, opset, number of the case). Where ONNX Runtime does not
run a node, onnx's reference evaluator does; where neither does, the node is no case.

Cases are compiled together, a model of many independent nodes; a model that fails is halved. Each
ends as equal, refused (byoc's own error), wrong or error. Exit status 1 when one is of the last
two.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.onnx_compare import difference
from benchmarks.onnx_exact import exact_outputs
from benchmarks.onnx_recipes import RECIPES, Draw, generic
from byoc.frontends.onnx.operators import known_operator

__all__ = ["NodeCase", "cases_of", "converted", "end_of_each"]

_NEWEST = 26
"""ONNX Runtime's newest opset; later versions are left to the reference evaluator."""

_LEFT_OUT = {"If", "Loop", "Scan", "Optional", "OptionalGetElement", "OptionalHasElement",
             "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
             "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence"}  # fmt: skip
"""Operators of graphs and sequences: one node is no model of them."""

_MISREAD = {"GlobalMaxPool", "Hardmax", "LRN", "LogSoftmax", "NonZero", "Softmax"}
"""Operators that onnx's evaluator gets wrong: it reads other axes than ONNX says."""

_TRAINING = {"consumed_inputs", "is_test", "broadcast", "output_sequence"}
"""Attributes that versions before 7 have and that say nothing about results."""

End = tuple[str, str]
"""(how a case ends, why)."""


@dataclass(frozen=True)
class NodeCase:
    """One node. inputs: values that are fed; stored: constants; expected: right outputs."""

    operator: str
    opset: int
    number: int
    node: onnx.NodeProto
    inputs: dict[str, Any]
    stored: dict[str, Any]
    outputs: list[onnx.ValueInfoProto]
    expected: list[Any]

    @property
    def title(self) -> str:
        """What names the case, and shows the node."""
        attrs = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        text = ", ".join(
            f"{n}={numpy_helper.to_array(v).tolist() if isinstance(v, onnx.TensorProto) else v}"
            for n, v in attrs.items()
        )
        values = self.inputs | self.stored
        shown = [
            ("const " if n in self.stored else "") + f"{values[n].dtype}{list(values[n].shape)}"
            if n in values else "-" for n in self.node.input
        ]  # fmt: skip
        return (
            f"--only {self.operator} --opset {self.opset} --case {self.number}: "
            f"({', '.join(shown)}; {text})"
        )


def converted() -> dict[str, list[int]]:
    """Operator that has a converter → its versions, oldest first."""
    found: dict[str, list[int]] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain not in ("", "ai.onnx") or schema.name in _LEFT_OUT:
            continue
        if not schema.deprecated and known_operator(helper.make_node(schema.name, [], [])):
            found.setdefault(schema.name, []).append(schema.since_version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def opsets_of(versions: Sequence[int]) -> list[int]:
    """The first and the last opset of each version."""
    ends = [*(v - 1 for v in versions[1:]), max(_NEWEST, versions[-1])]
    return sorted({o for pair in zip(versions, ends, strict=True) for o in pair})


def cases_of(operator: str, opset: int, numbers: Iterable[int]) -> Iterator[NodeCase]:
    """The cases of an operator in an opset that a reference runs."""
    schema = defs.get_schema(operator, opset, "")
    for number in numbers:
        seed = zlib.crc32(f"{operator} {opset} {number}".encode())
        rng = np.random.default_rng(seed)
        draw = RECIPES.get(operator, generic)(rng, schema, opset)
        case = None if draw is None else _case(operator, opset, number, draw, rng, schema)
        if case is not None:
            yield case


def _case(
    operator: str, opset: int, number: int, draw: Draw, rng: Any, schema: Any
) -> NodeCase | None:
    """The case, with what a reference computes; None where no reference runs it."""
    stem = f"{operator}_{opset}_{number}"
    names, inputs, stored = [], {}, {}
    for index, value in enumerate(draw.inputs):
        name = "" if value is None else f"{stem}_i{index}"
        names.append(name)
        if value is None:
            continue
        fixed = index in draw.fixed or (index > 0 and index not in draw.fed and rng.random() < 0.5)
        (stored if fixed else inputs)[name] = value
    known = schema.attributes
    attrs = {n: v for n, v in draw.attrs.items() if n in known and v is not None}
    if any(a.required and n not in attrs for n, a in known.items()):
        return None
    outputs = [f"{stem}_o{i}" for i in range(draw.outputs)]
    node = helper.make_node(operator, names, outputs, name=stem, **attrs)
    blank = [onnx.ValueInfoProto(name=o) for o in outputs]
    model = _model([node], inputs, stored, blank, opset)
    expected = _reference(model, inputs)
    if expected is None or any(not hasattr(e, "dtype") for e in expected):
        return None
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(e.dtype), e.shape)
        for n, e in zip(outputs, expected, strict=True)
    ]
    return NodeCase(operator, opset, number, node, inputs, stored, ports, expected)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Any],
    stored: dict[str, Any],
    outputs: Sequence[onnx.ValueInfoProto],
    opset: int,
) -> onnx.ModelProto:
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in inputs.items()
    ]
    tensors = [numpy_helper.from_array(v, n) for n, v in stored.items()]
    if opset < 9:  # weights of IR 3 are inputs, too
        ports += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    graph = helper.make_graph(nodes, "versions", ports, outputs, tensors)
    version = helper.make_opsetid("", opset)
    lowest = helper.find_min_ir_version_for([version], True)
    return helper.make_model(graph, opset_imports=[version], ir_version=max(lowest, 3))


def _reference(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any] | None:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(inferred)
    except Exception:  # what onnx itself finds wrong is no case
        return None
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception:
        return _evaluated(model, inputs) if _opset(model) >= 7 else _as_newer(model, inputs)
    try:
        return list(session.run(None, inputs))
    except Exception:
        return None


def _opset(model: onnx.ModelProto) -> int:
    return int(model.opset_import[0].version)


def _as_newer(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any] | None:
    """What a node of an opset before 7 computes, read by the next version that runs: besides the
    broadcasts by attributes, which recipes leave alone, versions dropped attributes of training.
    """
    newer = onnx.ModelProto()
    newer.CopyFrom(model)
    newer.opset_import[0].version += 1
    node = newer.graph.node[0]
    schema = defs.get_schema(node.op_type, _opset(newer), "")
    kept = [a for a in node.attribute if a.name in schema.attributes]
    if node.op_type == "PRelu":  # a vector of slopes was the channels'
        return None
    if any(a.name not in _TRAINING for a in node.attribute if a not in kept):
        return None
    del node.attribute[:]
    node.attribute.extend(kept)
    return _reference(newer, inputs)


def _evaluated(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any] | None:
    """What onnx's reference evaluator computes."""
    from onnx.reference import ReferenceEvaluator

    inferred = shape_inference.infer_shapes(model).graph.output
    legal = [o.type.tensor_type.elem_type for o in inferred]
    if model.graph.node[0].op_type in _MISREAD:
        return None
    try:
        with np.errstate(all="ignore"):
            found = list(ReferenceEvaluator(model).run(None, inputs))
            if [helper.np_dtype_to_tensor_dtype(v.dtype) for v in found] != legal:
                return None  # numpy sums in a wider type than ONNX says
            if all(v.dtype != np.float16 for v in found):
                return found
            exact = exact_outputs(model, list(inputs.values()))  # halves: rounded at the end
            return [e.astype(v.dtype) for e, v in zip(exact, found, strict=True)]
    except Exception:
        return None


def model_of(cases: Sequence[NodeCase]) -> onnx.ModelProto:
    """The cases, all of one opset, as one model."""
    return _model(
        [c.node for c in cases],
        {n: v for c in cases for n, v in c.inputs.items()},
        {n: v for c in cases for n, v in c.stored.items()},
        [o for c in cases for o in c.outputs],
        cases[0].opset,
    )


def end_of_each(
    cases: Sequence[NodeCase], vendors: Sequence[Any]
) -> Iterator[tuple[NodeCase, End]]:
    """How each case ends; all are of one opset."""
    import byoc
    from byoc.frontends import import_model

    taken = []
    for case in cases:
        try:
            import_model(model_of([case]))
        except Exception as error:
            yield case, _failed(error)
        else:
            taken.append(case)
    waiting = [taken]
    while waiting:
        some = waiting.pop()
        if not some:
            continue
        try:
            program = byoc.compile(model_of(some), vendors)
            found = program.run({n: v for c in some for n, v in c.inputs.items()})
        except Exception as error:
            if len(some) > 1:
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
                continue
            yield some[0], _failed(error)
            continue
        for case in some:
            yield case, _compared(case, found)


def _failed(error: Exception) -> End:
    from byoc.testing.on_purpose import accident

    why = accident(error)
    return ("error", f"{why}: {error}") if why else ("refused", str(error))


def _compared(case: NodeCase, found: Any) -> End:
    for port, expected in zip(case.outputs, case.expected, strict=True):
        got = np.asarray(found[port.name])
        why = difference(got, np.asarray(expected))
        if why:
            return "wrong", why
    return "equal", ""


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=12, help="cases of each opset")
    parser.add_argument("--case", type=int, help="this case alone; its model is printed")
    parser.add_argument("--only", help="operators, by commas")
    parser.add_argument("--opset", type=int, help="this opset alone")
    parser.add_argument("--vendors", default="host", help="by commas; 'host': no vendors")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th operator")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    args = parser.parse_args()
    vendors = [] if args.vendors == "host" else args.vendors.split(",")
    only = set(args.only.split(",")) if args.only else None
    part, parts = map(int, args.shard.split("/"))
    numbers = range(args.cases) if args.case is None else [args.case]
    table: dict[str, dict[int, dict[str, int]]] = {}
    bad, refused = 0, Counter[str]()
    names = [n for n in converted() if only is None or n in only][part::parts]
    for name in names:
        for opset in opsets_of(converted()[name]):
            if args.opset not in (None, opset):
                continue
            cases = list(cases_of(name, opset, numbers))
            counts = Counter[str]()
            for case, (kind, why) in end_of_each(cases, vendors):
                counts[kind] += 1
                if kind in ("wrong", "error"):
                    bad += 1
                    print(f"{kind}: {case.title}\n    {why[:400]}", flush=True)
                elif kind == "refused":
                    refused[f"{name}: {why.split('): ')[-1][:120]}"] += 1
            counts["none"] = len(numbers) - len(cases)
            table.setdefault(name, {})[opset] = dict(counts)
            if args.case is not None and cases:
                print(onnx.printer.to_text(model_of(cases)))
        print(f"{name}: {table.get(name)}", file=sys.stderr, flush=True)
    total = sum((Counter(c) for v in table.values() for c in v.values()), Counter[str]())
    for why, count in refused.most_common(60):
        print(f"refused {count}: {why}")
    pairs = sum(map(len, table.values()))
    bare = [f"{n}-{o}" for n, v in table.items() for o, c in v.items() if not c.get("equal")]
    print(f"{len(table)} operators, {pairs} opsets: {dict(total)}; without an equal one: {bare}")
    if args.json:
        args.json.write_text(json.dumps({"table": table, "refused": refused}, indent=1))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
