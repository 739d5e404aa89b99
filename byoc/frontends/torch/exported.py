"""`import_exported`: a `torch.export` program as a `Model`.

Parameters and buffers become constants over torch's own memory. Inputs keep the names of
`forward`'s arguments; outputs are named by the structure that `forward` returns: keys of a dict,
fields of a dataclass or named tuple, else "output", "output_0", …
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument

from byoc.errors import ModelError
from byoc.frontends.bindings import distinct
from byoc.frontends.model import Model, finish
from byoc.frontends.torch.sizes import Sizes, names_of_symbols
from byoc.frontends.torch.walk import own_decompositions, read_graph
from byoc.frontends.torch.whole_layers import whole_layers

__all__ = ["import_exported"]


def import_exported(program: torch.export.ExportedProgram) -> Model:
    """Read an exported program; it is not changed, its weights are shared where possible.

    None and numbers among the results are left out: they say nothing about a call. Numbers that
    depend on data are scalars.

    Raises:
        ModelError: Something cannot be compiled; the message names the operator and the line, the
            buffer or input that `forward` writes to, results whose shape depends on data.
    """
    name = _name(program)
    where = f"model {name!r}"
    _check_inputs(program, where)
    sizes = Sizes(_symbol_names(program))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = own_decompositions(torch.export.default_decompositions())
            with whole_layers():
                simple = program.run_decompositions(table)
    except Exception as error:
        raise ModelError(f"{where}: torch cannot decompose it: {error}") from error
    _check_mutations(simple, where)
    constants, names = _constants(simple, where)
    kinds = [spec.kind for spec in simple.graph_signature.output_specs]
    tensors = [
        i
        for i, spec in enumerate(simple.graph_signature.output_specs)
        if kinds[i] in (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
    ]
    opened = read_graph(
        simple.graph_module, where, sizes, constants, names, tensors, keep_inputs=True
    )
    spelled = list(_leaves(program.call_spec.out_spec, ()))
    outputs = []
    for leaf, result in zip(spelled, opened.results, strict=True):
        if isinstance(result, int) or result[0] == "number":
            outputs.append(_output_name(leaf))
        elif result[0] == "size":
            raise ModelError(
                f"{where}: output {_output_name(leaf)!r} is a size ({result[1]}), no tensor; "
                f"return torch.tensor of it, or leave it out"
            )
    if outputs == ["output_0"]:
        outputs = ["output"]
    return finish(opened.graph, name, opened.inputs, distinct(outputs), "torch")


def _name(program: torch.export.ExportedProgram) -> str:
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            if not path and kind:
                text = kind if isinstance(kind, str) else kind.__name__
                return str(text).rsplit(".", 1)[-1]
    return "model"


def _check_inputs(program: torch.export.ExportedProgram, where: str) -> None:
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if not isinstance(spec.arg, (TensorArgument, ConstantArgument)):
            raise ModelError(
                f"{where}: input {spec.arg.name!r} is a number that may change with every call; "
                f"export it as a constant or as a tensor"
            )


def _check_mutations(program: torch.export.ExportedProgram, where: str) -> None:
    for spec in program.graph_signature.output_specs:
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION):
            what = "buffer" if spec.kind is OutputKind.BUFFER_MUTATION else "input"
            raise ModelError(
                f"{where}: forward writes to its {what} {spec.target!r}; a compiled model keeps no "
                f"state between calls: return the new value instead, export in eval mode, or use "
                f"torch.compile(…, backend='byoc'), which writes it back"
            )


def _constants(
    program: torch.export.ExportedProgram, where: str
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Placeholder → tensor, and placeholder → the name of the weight."""
    found: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    stored = dict(program.named_buffers()) | dict(program.named_parameters())
    stored |= program.state_dict | program.constants
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        value = stored.get(spec.target)
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"{where}: its input {spec.arg.name!r} is a {spec.kind.name.lower()}, expected "
                f"parameters, buffers and constant tensors"
            )
        found[spec.arg.name] = value
        names[spec.arg.name] = str(spec.target)
    return found, names


def _symbol_names(program: torch.export.ExportedProgram) -> dict[str, str]:
    for node in program.graph.nodes:
        fake = node.meta.get("val")
        if isinstance(fake, torch.Tensor):
            for size in fake.shape:
                if isinstance(size, torch.SymInt):
                    return names_of_symbols(size.node.shape_env)
    return {}


# -- names of outputs


def _leaves(spec: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if spec.type is None or (spec.is_leaf() if callable(spec.is_leaf) else spec.is_leaf):
        yield path
        return
    children = spec.children() if hasattr(spec, "children") else spec.children_specs
    for key, child in zip(_keys(spec, len(children)), children, strict=True):
        yield from _leaves(child, (*path, key))


def _keys(spec: Any, count: int) -> list[Any]:
    context = spec.context
    fields = getattr(context, "_fields", None) or getattr(spec.type, "_fields", None)
    if fields is not None and len(fields) == count:
        return list(fields)
    if spec.type is not tuple and isinstance(context, (list, tuple)):
        for keys in (context, *context):  # dataclasses of torch: (fields, omitted)
            fits = isinstance(keys, (list, tuple)) and len(keys) == count
            if fits and all(isinstance(k, str) for k in keys):
                return list(keys)
    return list(range(count))


def _output_name(path: tuple[Any, ...]) -> str:
    if not path:
        return "output"
    text = ".".join(map(str, path))
    return f"output_{text}" if isinstance(path[0], int) else text
