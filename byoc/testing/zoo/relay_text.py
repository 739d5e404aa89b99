"""Relay as text of version 0.0.5, with its metadata section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from byoc.segment import Array
from byoc.testing.zoo.relay_file import GraphOfFile
from byoc.testing.zoo.relay_json import JsonNodes

__all__ = ["write_text"]


def _type(shape: Sequence[int], dtype: str) -> str:
    return f"Tensor[({', '.join(map(str, shape))}), {dtype}]"


def _attr(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}f" if np.isfinite(value) else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_attr, value))}]"
    return str(value)


def _scalar(array: Array) -> str | None:
    """A scalar as TVM prints it in place, None for what goes to the metadata."""
    if array.ndim:
        return None
    suffix = {"float32": "f", "int32": "", "int64": "i64", "float64": "f64"}.get(str(array.dtype))
    if suffix is None:
        return None
    text = repr(float(array)) if array.dtype.kind == "f" else str(int(array))
    return f"{text.removesuffix('.0')}{suffix} /* ty={array.dtype} */"


def write_text(graph: GraphOfFile, weights: str = "meta") -> str:
    """Write a module as Relay text of version 0.0.5.

    Args:
        graph: The module.
        weights: "meta" for constants in a metadata section, "params" for parameters.

    """
    used = {a for c in graph.calls for a in c.args if isinstance(a, str)}
    large = [n for n, a in graph.constants.items() if n in used and _scalar(a) is None]
    spelled = {n: _scalar(a) or "" for n, a in graph.constants.items()}
    params = [f"%{n}: {_type(*spec)}" for n, spec in graph.inputs.items()]
    for index, name in enumerate(large):
        array = graph.constants[name]
        kind = _type(array.shape, str(array.dtype))
        if weights == "params":
            spelled[name] = f"%{name}"
            params.append(f"%{name}: {kind}")
        else:
            spelled[name] = f"meta[relay.Constant][{index}] /* ty={kind} */"
    fields = {c.name: f".{c.field}" for c in graph.calls if c.field is not None}

    def value(name: Any) -> str:
        if isinstance(name, tuple):
            return f"({', '.join(map(value, name))})"
        if name in spelled:
            return spelled[name]
        return f"%{name}{fields.get(name, '')}"

    lines = ['#[version = "0.0.5"]', f"def @main({', '.join(params)}) {{"]
    for call in graph.calls:
        parts = [value(a) for a in call.args]
        parts += [f"{k}={_attr(v)}" for k, v in call.attrs.items()]
        lines.append(f"  %{call.name} = {call.op}({', '.join(parts)});")
    lines += [f"  {value(graph.output)}", "}", ""]
    if weights == "params" or not large:
        return "\n".join(lines)
    nodes = JsonNodes("0.12.0")
    entries = [nodes.constant(graph.constants[n]) for n in large]
    table = nodes.add("Map", keys=["relay.Constant"], data=[nodes.add("Array", data=entries)])
    return "\n".join([*lines, "#[metadata]", nodes.dump(table)])
