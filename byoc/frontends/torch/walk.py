"""Walk a graph of ATen operators and write it down in Relax.

torch has worked out the type of every value (fake tensors), so a converter only says what to
compute; the walk checks what came of it against what torch says::

    node ──converter──▶ Relax expression ──check type──▶ binding, under the module's path
      └─no converter, or it cannot─▶ opaque call, which torch runs (opaque.py)

    encoder.layer.0.attention.query.linear        path of the module, then the operator
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import tvm
from tvm import relax

from byoc.errors import ModelError
from byoc.frontends.bindings import Bindings, packed
from byoc.frontends.context import sentence
from byoc.frontends.normalise.graph import Graph
from byoc.frontends.torch.context import (
    Later,
    TorchContext,
    TrainingError,
    dtype_name,
    is_tensor,
)
from byoc.frontends.torch.opaque import InnerValue, Number, OpaqueOperators, read_parts, spelled
from byoc.frontends.torch.ops.table import OPERATORS
from byoc.frontends.torch.sizes import Sizes
from byoc.frontends.torch.strides import stored_order
from byoc.ir.arrays import from_numpy

__all__ = ["Opened", "constant_of", "own_decompositions", "read_graph"]

# Arguments that do not change values.
_IGNORED = {"layout", "device", "pin_memory", "memory_format", "non_blocking", "generator"}

# Checks that torch's tracing leaves behind; sizes are checked again when a model is called.
_CHECKS = {
    "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range",
    "sym_constrain_range_for_size",
}  # fmt: skip


# Their decompositions hold a check that torch sees as an effect; whole, they check by themselves.
_WHOLE = {
    "linalg_cholesky.default", "linalg_inv.default", "linalg_ldl_factor.default",
    "linalg_lu_factor.default", "linalg_solve.default", "linalg_tensorinv.default",
    "linalg_tensorsolve.default",
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A torch graph in Relax.

    Attributes:
        graph: Takes the placeholders that were no constants.
        inputs: Their names, in order.
        results: What the torch graph returns, in order: the index of one of `graph`'s results, or a
            value that needs no computing: ("value", number or None), ("size", torch.SymInt),
            ("input", name of a placeholder); or ("number", index) of a result that is a scalar for
            a number that depends on data.
        operators: How many operators of torch it holds.
        kept: How many of them are left to torch.
        unknown: What they are.
    """

    graph: Graph
    inputs: tuple[str, ...]
    results: tuple[int | tuple[str, Any], ...]
    operators: int = 0
    kept: int = 0
    unknown: tuple[str, ...] = ()


def own_decompositions(table: Any) -> Any:
    """torch's table of decompositions without the operators that are imported or kept whole."""
    for op in list(table.keys()):
        known = getattr(op, "__name__", "")
        if getattr(op, "namespace", "") == "aten" and (known in OPERATORS or known in _WHOLE):
            del table[op]
    return table


def constant_of(tensor: torch.Tensor, what: str) -> Any:
    """A tensor of torch as a constant of Relax over the same memory.

    It is copied where kernels cannot read it in place: not dense, not aligned, bool.

    Args:
        tensor: The tensor.
        what: The model and the tensor, as messages begin.

    Raises:
        ModelError: The tensor is not plain memory of the CPU.
    """
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
        raise ModelError(
            f"{what} is a {type(tensor).__name__}, expected a plain torch.Tensor that holds values"
        )
    if tensor.device.type != "cpu":
        raise ModelError(
            f"{what} is on {str(tensor.device)!r}; byoc compiles for the CPU: call .cpu() first"
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ModelError(f"{what} is {tensor.layout} {tensor.dtype}; expected a dense tensor")
    try:
        dtype = dtype_name(tensor.dtype)
    except ValueError as error:
        raise ModelError(f"{what}: {error}") from None
    plain = tensor.detach().resolve_neg().contiguous()
    if dtype == "bfloat16" or dtype.startswith("float8"):
        return relax.const(tvm.runtime.from_dlpack(plain.clone()))
    return relax.const(from_numpy(plain.numpy()))


def read_graph(
    module: torch.fx.GraphModule,
    where: str,
    sizes: Sizes,
    constants: Mapping[str, torch.Tensor],
    names: Mapping[str, str] | None = None,
    wanted: Iterable[int] | None = None,
    keep_inputs: bool = False,
    as_stored: bool = False,
    cut: bool = True,
    training: bool = False,
) -> Opened:
    """A graph of ATen operators as Relax ops.

    Args:
        module: The graph, in ATen operators that have converters.
        where: The model, as messages begin.
        sizes: The program's symbolic sizes; those of the inputs are added.
        constants: Placeholder → its tensor; the others become inputs.
        names: Placeholder → name of the input, where it is not the placeholder's own.
        wanted: Which results to give; None for all.
        keep_inputs: True to give inputs that are returned as results like others.
        as_stored: True to give results with their axes in the order of torch's memory, see
            `strides.stored_order`.
        cut: True to leave operators that Relax cannot express to torch, False to refuse them.
        training: True to leave those of training mode (dropout, …) to torch, too.

    Raises:
        ModelError: An operator cannot be imported; the message names the node, its operator and the
            line of the model's source.
    """
    walk = _Walk(where, sizes, keep_inputs, as_stored, cut, training)
    return walk.run(module, constants, names or {}, wanted)


@dataclass
class _Walk:
    where: str
    sizes: Sizes
    keep_inputs: bool
    as_stored: bool
    cut: bool
    training: bool
    bindings: Bindings = field(default_factory=Bindings)
    env: dict[Any, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    params: dict[str, Any] = field(default_factory=dict)
    inputs: set[Any] = field(default_factory=set)
    operators: int = 0

    def __post_init__(self) -> None:
        self.opaque = OpaqueOperators(self.sizes, self.env, self.params)

    def run(
        self,
        module: torch.fx.GraphModule,
        constants: Mapping[str, torch.Tensor],
        names: Mapping[str, str],
        wanted: Iterable[int] | None,
    ) -> Opened:
        nodes = list(module.graph.nodes)
        if not self.cut:
            self._check_known(module)
        for node in nodes:
            fake = node.meta.get("val")
            free = node.op == "placeholder" and node.name not in constants
            if free and isinstance(fake, torch.Tensor):
                name = names.get(node.name, node.name)
                self.params[node.name] = self.env[node] = self._parameter(node, name)
        self.inputs.update(self.params.values())
        for node in nodes:  # sizes that callers pass, once the inputs have defined symbols
            fake = node.meta.get("val")
            if node.op == "placeholder" and not isinstance(fake, torch.Tensor):
                self.env[node] = self._number(fake)
        results: list[int | tuple[str, Any]] = []

        def body() -> Any:
            for node in nodes:
                if node.op == "placeholder" and node.name in constants and node.users:
                    what = f"{self.where}: {names.get(node.name, node.name)!r}"
                    self.env[node] = constant_of(constants[node.name], what)
            given = self._nodes(module)
            picked = range(len(given)) if wanted is None else list(wanted)
            tensors: list[Any] = []
            results.extend(self._result(given[i], tensors) for i in picked)
            if not tensors:
                raise ModelError(f"{self.where}: it computes no tensor")
            return packed(tensors)

        graph = self.bindings.main(list(self.params.values()), body)
        inputs = tuple(names.get(n, n) for n in self.params)
        kept = self.opaque.kept
        return Opened(
            graph, inputs, tuple(results), self.operators, sum(kept.values()), tuple(kept)
        )

    # -- before

    def _check_known(self, module: torch.fx.GraphModule) -> None:
        """All operators without a converter at once, with where the first of each comes from."""
        unknown: dict[str, Any] = {}
        for node in module.graph.nodes:
            if node.op == "call_function" and not self._is_known(node):
                unknown.setdefault(str(node.target), node)
        if unknown:
            listed = "; ".join(f"{op} ({source_location(n)})" for op, n in unknown.items())
            raise ModelError(
                f"{self.where}: no converter for {len(unknown)} of its operators: {listed}"
            )

    def _is_known(self, node: Any) -> bool:
        if not isinstance(node.target, torch._ops.OpOverload):
            return node.target is operator.getitem or _inlined(node) or not _is_tensor_node(node)
        name = node.target.__name__
        aten = node.target.namespace in ("aten", "prims")
        if not node.users and (name.split(".")[0] in _CHECKS or not node.is_impure()):
            return True
        return (aten and name in OPERATORS) or not _is_tensor_node(node)

    def _parameter(self, node: Any, name: str) -> Any:
        fake = node.meta["val"]
        what = f"{self.where}: input {name!r}"
        if fake.device.type not in ("cpu", "meta"):
            raise ModelError(
                f"{what} is on {str(fake.device)!r}; byoc compiles for the CPU: export the model "
                f"with inputs and weights there"
            )
        if fake.layout != torch.strided:
            raise ModelError(f"{what} is {fake.layout}; expected a dense tensor")
        try:
            shape = self.sizes.shape(fake.shape, define=True)
            return relax.Var(name, relax.TensorType(shape, dtype_name(fake.dtype)))
        except ValueError as error:
            raise ModelError(f"{what}: {error}") from None

    # -- nodes

    def _nodes(self, module: torch.fx.GraphModule) -> list[Any]:
        for node in module.graph.nodes:
            if node.op == "get_attr":
                value = _attribute(module, node.target)
                if isinstance(value, torch.Tensor):
                    value = constant_of(value, f"{self.where}: the constant {node.target!r}")
                self.env[node] = value
            elif node.op == "call_function":
                if node.users or (node.is_impure() and not self._is_check(node)):
                    self.env[node] = self._call(node)
            elif node.op == "output":
                flat: list[Any] = []
                torch.fx.map_arg(node.args[0], flat.append)
                outputs = node.args[0]
                return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        raise ModelError(f"{self.where}: the graph has no output")

    def _is_check(self, node: Any) -> bool:
        return str(getattr(node.target, "__name__", "")).split(".")[0] in _CHECKS

    def _call(self, node: Any) -> Any:
        self.operators += isinstance(node.target, torch._ops.OperatorBase)
        what = f"{self.where}: node {self._name(node)!r} ({node.target}, {source_location(node)})"
        c = TorchContext(self.bindings, what, node, self.sizes)
        try:
            if node.target is operator.getitem:
                return self._part(node)
            for source in node.all_input_nodes:
                if isinstance(self.env.get(source), (Number, InnerValue)):
                    return self._left_to_torch(c, f"it reads {self.env[source].reason}")
            if not _is_tensor_node(node):
                number = self._number(node.meta.get("val"))
                if not isinstance(number, Later) or not self.cut:
                    return number
                return self._left_to_torch(c, "its result is a number that depends on data")
            if _inlined(node):
                return self._inline(node)
            if not self._is_known(node):
                return self._left_to_torch(c, f"byoc has no converter for {spelled(node)}")
        except ModelError:
            raise
        except Exception as error:
            raise c.failure(error) from error
        try:
            return self._converted(c)
        except ModelError:
            raise
        except Exception as error:
            if not self.cut or (isinstance(error, TrainingError) and not self.training):
                raise c.failure(error) from error
            reason = f"byoc does not convert this {spelled(node)}: {sentence(error)}"
        return self._left_to_torch(c, reason)

    def _converted(self, c: TorchContext) -> Any:
        """What the operator's converter makes of it."""
        node, meta = c.node, c.node.meta.get("val")
        result = OPERATORS[node.target.__name__](c, **self._arguments(node))
        name = self._unique(node)
        if isinstance(result, tuple):
            read = read_parts(node)
            for i, (part, fake) in enumerate(zip(result, meta, strict=True)):
                if part is None and fake is not None and (read is None or i in read):
                    raise ValueError(f"its result {i} is not computed")
            parts = zip(result, meta, strict=True)
            return tuple(None if r is None else self._checked(c, r, m, name) for r, m in parts)
        if isinstance(meta, (tuple, list)):
            (meta,) = meta
        return self._checked(c, result, meta, name)

    def _left_to_torch(self, c: TorchContext, reason: str) -> Any:
        """An opaque call of the operator; the reason is why it has to be one."""
        error: Exception = ValueError(reason)
        if self.cut:
            try:
                where = f"{reason} ({source_location(c.node)})"
                return self.opaque.add(c, self._unique(c.node), where)
            except ValueError as problem:
                error = ValueError(f"{reason}; nor can torch run it in between: {problem}")
        raise c.failure(error) from error

    def _part(self, node: Any) -> Any:
        """One of several results."""
        part = self.env[node.args[0]][node.args[1]]
        return self.opaque.part(node, part) if isinstance(part, InnerValue) else part

    def _number(self, meta: Any) -> Any:
        """A size or a number that torch knows; a reason why not for what depends on data."""
        if meta is None or isinstance(meta, (bool, int, float, str)):
            return meta
        try:
            return self.sizes.size(meta)
        except (ValueError, AttributeError) as error:
            return Later(str(error))

    def _inline(self, node: Any) -> Any:
        """Regions of another mode (no_grad, autocast): their operators, here."""
        inner = self.env[_region(node)]
        taken = [a for a in node.args if isinstance(a, torch.fx.Node)]
        taken.remove(_region(node))
        holders = [n for n in inner.graph.nodes if n.op == "placeholder"]
        for holder, argument in zip(holders, taken, strict=True):
            self.env[holder] = self._value(argument)
        return tuple(self._value(r) for r in self._nodes(inner))

    def _arguments(self, node: Any) -> dict[str, Any]:
        """The arguments by the names of the schema, defaults included."""
        found = {}
        position = 0
        for argument in node.target._schema.arguments:
            name = argument.name
            if not argument.kwarg_only and position < len(node.args):
                value = node.args[position]
                position += 1
            elif name in node.kwargs:
                value = node.kwargs[name]
            else:
                value = argument.default_value
            if name not in _IGNORED:
                found[name] = self._value(value)
        return found

    def _value(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            found = self.env[value]
            if isinstance(found, (Later, Number, InnerValue)):
                raise ValueError(found.reason)
            return found
        if isinstance(value, (list, tuple)):
            return [self._value(v) for v in value]
        if isinstance(value, torch.dtype):
            return dtype_name(value)
        return value

    def _checked(self, c: TorchContext, value: Any, fake: Any, name: str) -> Any:
        """The value under its name; a ValueError where its type is not what torch says."""
        if fake.device.type not in ("cpu", "meta"):
            raise ValueError(f"its result is on {str(fake.device)!r}; byoc compiles for the CPU")
        expected = self.sizes.shape(fake.shape)
        dtype = dtype_name(fake.dtype)
        value = c.emit(value)
        if isinstance(value, relax.Var) and value not in self.inputs:
            self.bindings.names.setdefault(value, name)
        if not is_tensor(value):
            raise ValueError(f"TVM makes {value.ty} of it, expected a tensor")
        if str(value.ty.dtype) != dtype:
            raise ValueError(f"TVM makes {value.ty.dtype} of it, torch {dtype}")
        shape = value.ty.shape
        if not isinstance(shape, relax.ShapeExpr):
            cast = relax.TensorType(expected, dtype)
            value = self.bindings.builder.match_cast(value, cast, name)
            self.bindings.names[value] = name
            return value
        found = [int(d) if isinstance(d, tvm.tirx.IntImm) else d for d in shape.values]
        sizes = zip(found, expected, strict=False)
        if len(found) != len(expected) or any(
            isinstance(a, int) and isinstance(b, int) and a != b for a, b in sizes
        ):
            raise ValueError(f"TVM makes the shape {found} of it, torch {expected}")
        return value

    # -- results and names

    def _result(self, given: Any, tensors: list[Any]) -> int | tuple[str, Any]:
        if not isinstance(given, torch.fx.Node):
            return "value", given
        meta = given.meta.get("val")
        if not isinstance(meta, torch.Tensor):
            number = self.env.get(given)
            if not isinstance(number, Number):
                return "size", meta
            tensors.append(number.tensor)
            return "number", len(tensors) - 1
        if given.op == "placeholder" and not self.keep_inputs:
            return "input", given.name
        made = self.env.get(given)
        if isinstance(made, InnerValue):
            raise ModelError(
                f"{self.where}: it returns {made.reason}: {given.name!r} ({spelled(given)}, "
                f"{source_location(given)}), since {made.origin}; end the model "
                f"before it, or in a tensor of known shape"
            )
        value = self._value(given)
        order = stored_order(meta) if self.as_stored else ()
        if list(order) != sorted(order):
            value = self.bindings.builder.emit(relax.op.permute_dims(value, order))
            self.bindings.names[value] = f"{self._name(given)}.as_stored"
        tensors.append(value)
        return len(tensors) - 1

    def _name(self, node: Any) -> str:
        target = _spoken(node).split(".")[0].strip("_")
        target = re.sub(r"^native_|_legit\w*$|_for_cpu$|_with_indices$", "", target)
        path = _module_path(node)
        return f"{path}.{target}" if path else target

    def _unique(self, node: Any) -> str:
        name = self._name(node)
        self.seen[name] += 1
        return name if self.seen[name] == 1 else f"{name}_{self.seen[name] - 1}"


def _is_tensor_node(node: Any) -> bool:
    meta = node.meta.get("val")
    if isinstance(meta, (tuple, list)):
        return any(isinstance(m, torch.Tensor) for m in meta)
    return isinstance(meta, torch.Tensor)


def _spoken(node: Any) -> str:
    """An operator's own name; of a wrapper around one, that of what it wraps."""
    wrapped = node.args[0] if node.args else None
    target = wrapped if isinstance(wrapped, torch._ops.OpOverload) else node.target
    return str(getattr(target, "__name__", target))


def _inlined(node: Any) -> bool:
    return getattr(node.target, "__name__", "") in (
        "wrap_with_set_grad_enabled",
        "wrap_with_autocast",
    )


def _region(node: Any) -> Any:
    return next(a for a in node.args if isinstance(a, torch.fx.Node) and a.op == "get_attr")


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module


def _module_path(node: Any) -> str:
    """``encoder.layer.0``; torch.compile spells it ``L['self'].encoder.layer.0``."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    path = re.sub(r"^L(\[['\"]\w+['\"]\]|__\w+?__)\.?", "", path)
    path = re.sub(r"\.?(_modules)?\[['\"]?(\w+)['\"]?\]", r".\2", path)
    return "" if path.startswith("_empty_nn_module_stack") else path.strip(".")


def source_location(node: Any) -> str:
    """The line of the model's source that the node comes from."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    if not lines:
        return "of unknown origin"
    file, line = lines[-1]
    return f"{'/'.join(file.split('/')[-2:])}:{line}"
