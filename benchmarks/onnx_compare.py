"""How byoc's results for a random graph compare with those of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from byoc.testing.grammar import Case

__all__ = ["BAD", "difference", "reference", "try_case", "try_sets"]

Reload = Callable[[Any, Sequence[Mapping[str, Any]]], "str | None"]

BAD = ("wrong", "error", "crash", "timeout")
"""Ends that no graph may come to."""

# |a - b| ≤ tolerance · max(1, |b|): chains of a dozen operators, sums of some hundred products.
_TOLERANCE = {"float64": 2e-5, "float32": 1e-3, "float16": 4e-2}


def reference(case: Case) -> list[list[np.ndarray]] | None:
    """What ONNX Runtime computes, node by node, for each set of inputs; None when it does not run
    the graph.
    """
    try:
        session = _session(case)
        return [session.run(None, inputs) for inputs in (case.inputs, *case.more, *case.given)]
    except Exception:
        return None


def _outside(case: Case) -> list[list[np.ndarray] | None]:
    """The same for inputs with an index outside its axis: None where it refuses them."""
    results: list[list[np.ndarray] | None] = []
    for inputs in case.outside:
        try:
            results.append(_session(case).run(None, inputs))
        except Exception:
            results.append(None)
    return results


def _session(case: Case) -> Any:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = _with_axes_from_the_front(case.model).SerializeToString()
    return ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"])


def _with_axes_from_the_front(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, with axes -1, -2, … counted from the front where a reduction's input is empty.

    ONNX says that both mean the same (Reduce*: "Accepted range is [-r, r-1]"). ONNX Runtime 1.31
    leaves out negative axes when there is nothing to reduce: ReduceSum of [0, 3] over [0, -1] gives
    [1, 3], where ONNX's shape inference and reference evaluator say [1, 1].
    """
    shapes: dict[str, list[int]] = {}
    typed = onnx.shape_inference.infer_shapes(model).graph
    for port in (*typed.input, *typed.output, *typed.value_info):
        kind = port.type.tensor_type
        if kind.HasField("shape"):
            dims = kind.shape.dim
            shapes[port.name] = [d.dim_value if d.HasField("dim_value") else -1 for d in dims]
    out = onnx.ModelProto()
    out.CopyFrom(model)
    known = {t.name: onnx.numpy_helper.to_array(t) for t in out.graph.initializer}
    for node in out.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        shape = shapes.get(node.input[0] if node.input else "", [])
        if not node.op_type.startswith("Reduce") or 0 not in shape:
            continue
        for attribute in node.attribute:
            if attribute.name == "axes":
                attribute.ints[:] = [a % len(shape) for a in attribute.ints]
        if len(node.input) > 1 and node.input[1] in known:
            axes = known[node.input[1]] % len(shape)
            node.input[1] = f"{node.output[0]}_axes_from_the_front"
            out.graph.initializer.append(onnx.numpy_helper.from_array(axes, node.input[1]))
    return out


def difference(found: np.ndarray, expected: np.ndarray) -> str | None:
    """How two arrays differ; None when they are equal within rounding of their dtype."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}"
    tolerance = _TOLERANCE.get(str(expected.dtype), 0.0)
    if not tolerance:
        unequal = found != expected
        if not unequal.any():
            return None
        at = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(unequal)))
        return f"{int(unequal.sum())} of {unequal.size} elements differ, first at {at}"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
        far = ~same & ~(gap <= tolerance * np.maximum(1, np.abs(b)))
    if not far.any():
        return None
    index = np.unravel_index(int(np.argmax(np.where(far, gap, -1))), a.shape)
    return f"{int(far.sum())} of {far.size} elements differ: {a[index]!r}, expected {b[index]!r}"


def try_case(case: Case, vendors: Sequence[Any]) -> tuple[str, str]:
    """How a graph ends, and why: "equal", "refused", "skip", "wrong", "error"."""
    return next(try_sets(case, {"": vendors}))[1]


def try_sets(
    case: Case, sets: Mapping[str, Sequence[Any]], reload: Reload | None = None
) -> Iterator[tuple[str, tuple[str, str]]]:
    """How a graph ends with each set of vendors, as `try_case`.

    Two sets that take the same ops make the same program, which is built and run once.

    Args:
        case: The graph and its inputs.
        sets: Name → vendors.
        reload: Says how a program's file answers otherwise than the program, None when it does
            not: such a graph is wrong.
    """
    from tvm_ffi import structural_equal

    import byoc
    from byoc.frontends import import_model
    from byoc.testing.on_purpose import accident

    expected = reference(case)
    model: Any = None
    made: list[tuple[Any, tuple[str, str]]] = []
    for name, vendors in sets.items():
        try:
            model = import_model(case.model) if model is None else model
            parts = byoc.partition_model(model, vendors).mod
            same = [end for mod, end in made if structural_equal(mod, parts)]
            if same:
                yield name, same[0]
                continue
            program = byoc.compile(case.model if case.given else model, vendors)
            runs = (case.inputs, *case.more)
            found = [program.run(inputs) for inputs in (*runs, *case.given)]
            bad = _answers_outside(case, program) if expected is not None else None
            other = reload(program, runs) if reload is not None else None
        except Exception as error:
            why = accident(error)
            said = f"{type(error).__name__}: {error}"
            yield name, ("error", f"{why}: {said}") if why else ("refused", said)
        else:
            end = ("skip", "") if expected is None else _compare(case, found, expected)
            if other is not None:
                end = ("wrong", f"reloaded: {other}")
            elif bad is not None:
                end = ("wrong", bad)
            made.append((parts, end))
            yield name, end


def _answers_outside(case: Case, program: Any) -> str | None:
    """How a program answers an index outside its axis otherwise than by an error; None: nowhere.

    Where ONNX Runtime answers (the axis is longer, nothing reads the place) it may answer the same.
    """
    import byoc

    for inputs, expected in zip(case.outside, _outside(case), strict=True):
        try:
            found = program.run(inputs)
        except byoc.ByocError as error:
            if expected is None or "index" in str(error):
                continue
            return f"an index outside: {error}"
        if expected is None:
            return "an index outside its axis is answered"
        end, why = _compare(case, [found], [expected])
        if end != "equal":
            return f"an index outside: {why}"
    return None


def _compare(
    case: Case, found: Sequence[Mapping[str, Any]], expected: Sequence[Sequence[Any]]
) -> tuple[str, str]:
    for results, arrays in zip(found, expected, strict=True):
        for port, array in zip(case.model.graph.output, arrays, strict=True):
            why = difference(np.asarray(results[port.name]), np.asarray(array))
            if why:
                return "wrong", f"output {port.name!r}: {why}"
    return "equal", ""
