"""``torch.compile(model, backend="byoc")``.

    Dynamo ─graph─▶ AOT Autograd ─ATen, functional─▶ importer ─▶ byoc.compile ─▶ Executable
      │                  │                                                           │
    guards          mutations, views,                          tensors in and out share memory
                    gradients: torch's own

Weights are constants of the compiled model, so that vendors can prepack them. Each call compares
them with those compiled in: the same tensors, storage and version counters, which every in-place
write raises (optimizers, `load_state_dict`). Changed weights are compiled in again; when they keep
changing, they become inputs. What cannot be compiled is run by torch, with a `FallbackWarning`.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._dynamo.backends.common import aot_autograd

from byoc.errors import ByocError, ModelError, OptionError, choices
from byoc.executable import Executable
from byoc.plugins.discovery import default_vendors

if TYPE_CHECKING:
    from byoc.frontends.torch.walk import Opened

__all__ = ["FallbackWarning", "byoc", "executables"]

_UPDATES = 2
"""After so many changes of the same weights they are inputs."""

_SETS = 64
"""So many different sets of weights (layers that share code) are compiled in."""

_COMPILE = ("vendors", "placement", "policy", "costs", "budget", "dims", "min_segment_ops",
            "min_segment_flops", "heal")  # fmt: skip


class FallbackWarning(UserWarning):
    """A graph that byoc could not compile is run by torch; the message says why."""


_executables: weakref.WeakSet[Executable] = weakref.WeakSet()


def executables() -> tuple[Executable, ...]:
    """What `torch.compile` has compiled with byoc and still holds, for reports and profiles."""
    return tuple(_executables)


def byoc(
    graph: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile a graph that `torch.compile` has captured: the backend that it calls.

    Args:
        graph: what Dynamo has captured.
        example_inputs: tensors like those it will be called with.
        options: those of `byoc.compile` (vendors: by default those that call themselves the
            default; placement, policy, …); ``strict``: raise instead of letting torch run what
            cannot be compiled (default False); ``freeze``: compile weights in (default True), else
            they are inputs always.
        mode: none is known.

    Returns:
        What torch calls in place of the graph.

    Raises:
        OptionError: another option, or a mode.
        ModelError: a tensor is not on the CPU.
    """
    settings = _settings(options or {}, mode)
    for node, value in zip(graph.graph.find_nodes(op="placeholder"), example_inputs, strict=False):
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            raise ModelError(
                f"backend 'byoc': {node.name!r} is on {str(value.device)!r}; byoc compiles for the "
                f"CPU: move the model and its inputs there, or choose another backend"
            )
    compiler = aot_autograd(
        fw_compiler=_training(settings),
        bw_compiler=_by_torch,
        inference_compiler=lambda module, inputs: _inference(module, settings),
        decompositions=_decompositions(),
    )
    compiled: Callable[..., Any] = compiler(graph, list(example_inputs))
    return compiled


@dataclass(frozen=True)
class _Settings:
    compile: dict[str, Any]
    strict: bool = False
    freeze: bool = True


def _settings(options: Mapping[str, Any], mode: str | None) -> _Settings:
    if mode is not None:
        raise OptionError(
            f"backend 'byoc' has no mode {mode!r}; choose vendors and placement by "
            f"torch.compile(…, options={{'vendors': {list(default_vendors())}}})"
        )
    legal = (*_COMPILE, "strict", "freeze")
    for name in options:
        if name not in legal:
            raise OptionError(f"backend 'byoc' has no option {name!r}; {choices(name, legal)}")
    rest = {name: value for name, value in options.items() if name in _COMPILE}
    if "vendors" not in rest:
        rest["vendors"] = default_vendors()
    return _Settings(rest, bool(options.get("strict", False)), bool(options.get("freeze", True)))


def _decompositions() -> dict[Any, Any]:
    from torch._decomp import core_aten_decompositions

    from byoc.frontends.torch.walk import own_decompositions

    table: dict[Any, Any] = own_decompositions(dict(core_aten_decompositions()))
    return table


def _by_torch(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    return _boxed(lambda args: list(module.forward(*args)))


def _boxed(run: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def call(args: list[Any]) -> Any:
        given = list(args)
        args.clear()
        return run(given)

    call._boxed_call = True  # type: ignore[attr-defined]
    return call


def _training(settings: _Settings) -> Callable[..., Any]:
    """The forward half of a graph whose gradients are wanted: torch runs it."""

    def compiler(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        text = (
            "gradients are wanted, and byoc compiles inference only: torch runs this graph, "
            "forward and backward; call the model under torch.no_grad() to have it compiled"
        )
        if settings.strict:
            raise ModelError(f"backend 'byoc': {text}")
        warnings.warn(f"backend 'byoc': {text}", FallbackWarning, stacklevel=2)
        return _by_torch(module, inputs)

    return compiler


def _inference(module: torch.fx.GraphModule, settings: _Settings) -> Callable[..., Any]:
    graph = _Graph(module, settings, _weights(module) if settings.freeze else ())
    return _boxed(graph.run)


def _weights(module: torch.fx.GraphModule) -> tuple[int, ...]:
    """Which inputs are parameters or buffers that the graph does not write to."""
    context = torch._guards.TracingContext.try_get()
    meta = getattr(context, "fw_metadata", None)
    if meta is None:
        return ()
    count = len(module.graph.find_nodes(op="placeholder"))
    written = set(meta.mutated_inp_runtime_indices)
    return tuple(i for i in meta.static_input_indices if i not in written and i < count)


@dataclass
class _Bound:
    """A compiled graph with weights in it. run: from all arguments to all results."""

    tensors: list[weakref.ref[torch.Tensor]]
    versions: list[int]
    addresses: list[int]
    run: Callable[[list[Any]], list[Any]]

    def same_tensors(self, weights: list[torch.Tensor]) -> bool:
        return all(r() is w for r, w in zip(self.tensors, weights, strict=True))

    def up_to_date(self, weights: list[torch.Tensor]) -> bool:
        return [w._version for w in weights] == self.versions and [
            w.data_ptr() for w in weights
        ] == self.addresses


@dataclass
class _Graph:
    """One graph of inference, compiled when its first arguments come."""

    module: torch.fx.GraphModule
    settings: _Settings
    weights: tuple[int, ...]
    bound: list[_Bound] = field(default_factory=list)
    updates: int = 0
    free: Callable[[list[Any]], list[Any]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, args: list[Any]) -> list[Any]:
        free = self.free
        if free is None:
            weights = [args[i] for i in self.weights]
            for bound in self.bound:
                if bound.same_tensors(weights) and bound.up_to_date(weights):
                    return bound.run(args)
            with self.lock:
                return self._compile_for(args, weights)(args)
        return free(args)

    def _compile_for(
        self, args: list[Any], weights: list[torch.Tensor]
    ) -> Callable[[list[Any]], list[Any]]:
        for bound in list(self.bound):
            if bound.same_tensors(weights):
                if bound.up_to_date(weights):
                    return bound.run  # another thread was faster
                self.bound.remove(bound)
                self.updates += 1
        self.bound = [b for b in self.bound if all(r() is not None for r in b.tensors)]
        frozen = bool(weights) and self.updates <= _UPDATES and len(self.bound) < _SETS
        if not frozen or any(w.is_inference() for w in weights):
            self.bound = []
            self.free = self._compile(args, ())
            return self.free
        versions = [w._version for w in weights]
        run = self._compile(args, self.weights)
        refs = [weakref.ref(w) for w in weights]
        self.bound.append(_Bound(refs, versions, [w.data_ptr() for w in weights], run))
        return run

    def _compile(self, args: list[Any], frozen: Sequence[int]) -> Callable[[list[Any]], list[Any]]:
        try:
            return _compiled(self.module, args, frozen, self.settings)
        except ByocError as error:
            if self.settings.strict or isinstance(error, OptionError):
                raise
            warnings.warn(f"torch runs a graph: {error}", FallbackWarning, stacklevel=2)
            return lambda given: list(self.module.forward(*given))


def _compiled(
    module: torch.fx.GraphModule, args: list[Any], frozen: Sequence[int], settings: _Settings
) -> Callable[[list[Any]], list[Any]]:
    """Import, compile, and a function from the graph's arguments to its results."""
    from byoc.compiler import compile as compile_model
    from byoc.frontends.model import Model, finish
    from byoc.frontends.torch.sizes import Sizes
    from byoc.frontends.torch.walk import read_graph

    places = {n.name: i for i, n in enumerate(module.graph.find_nodes(op="placeholder"))}
    names = list(places)
    sizes = Sizes()
    opened = read_graph(module, "backend 'byoc'", sizes, {names[i]: args[i] for i in frozen})
    executable: Executable | None = None
    used = [places[n] for n in opened.inputs]
    if any(isinstance(r, int) for r in opened.results):
        count = sum(isinstance(r, int) for r in opened.results)
        outputs = tuple(f"output_{i}" for i in range(count))
        model: Model = finish(opened.graph, "graph", opened.inputs, outputs, "torch")
        executable = compile_model(model, **settings.compile)
        _executables.add(executable)
    return _caller(executable, used, _results(opened, places, module))


def _results(
    opened: Opened, places: Mapping[str, int], module: torch.fx.GraphModule
) -> list[Callable[[list[Any], list[Any]], Any]]:
    """For every result: how to have it from the arguments and the executable's outputs."""
    return [_result(r, places, module) for r in opened.results]


def _result(
    result: int | tuple[str, Any], places: Mapping[str, int], module: torch.fx.GraphModule
) -> Callable[[list[Any], list[Any]], Any]:
    if isinstance(result, int):
        return lambda args, outputs: _to_torch(outputs[result])
    kind, value = result
    if kind == "input":
        place = places[value]
        return lambda args, outputs: args[place]
    if kind == "value" or not isinstance(value, torch.SymInt):
        return lambda args, outputs: value
    expr = value.node.expr
    sizes = _size_places(module, places)

    def size(args: list[Any], outputs: list[Any]) -> int:
        known = {s: find(args) for s, find in sizes.items() if s in expr.free_symbols}
        return int(expr.subs(known))

    return size


def _size_places(
    module: torch.fx.GraphModule, places: Mapping[str, int]
) -> dict[Any, Callable[[list[Any]], int]]:
    """Symbol → where in the arguments its value stands."""
    found: dict[Any, Callable[[list[Any]], int]] = {}
    for node in module.graph.find_nodes(op="placeholder"):
        place, fake = places[node.name], node.meta["val"]
        if isinstance(fake, torch.SymInt) and fake.node.expr.is_Symbol:
            found.setdefault(fake.node.expr, lambda args, p=place: int(args[p]))  # type: ignore[misc]
        elif isinstance(fake, torch.Tensor):
            for axis, size in enumerate(fake.shape):
                if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                    found.setdefault(
                        size.node.expr,
                        lambda args, p=place, a=axis: int(args[p].shape[a]),  # type: ignore[misc]
                    )
    return found


def _caller(
    executable: Executable | None,
    used: Sequence[int],
    results: Sequence[Callable[[list[Any], list[Any]], Any]],
) -> Callable[[list[Any]], list[Any]]:
    def run(args: list[Any]) -> list[Any]:
        outputs: list[Any] = []
        if executable is not None:
            found = executable(*[_to_numpy(args[i]) for i in used])
            outputs = list(found) if isinstance(found, tuple) else [found]
        return [result(args, outputs) for result in results]

    return run


def _to_numpy(tensor: torch.Tensor) -> Any:
    """The tensor's memory; dtypes that numpy lacks go through DLPack."""
    plain = tensor.detach()
    if plain.is_neg():
        plain = plain.resolve_neg()
    if plain.dtype in _WITHOUT_NUMPY:
        return plain.contiguous()
    return plain.numpy()


_WITHOUT_NUMPY = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}
_BY_NAME = {str(d).removeprefix("torch."): d for d in _WITHOUT_NUMPY}


def _to_torch(array: Any) -> torch.Tensor:
    """The array's memory as a tensor."""
    dtype = _BY_NAME.get(array.dtype.name)
    if dtype is None:
        return torch.from_numpy(array)
    bits = np.uint16 if array.dtype.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(bits)).view(dtype)
