"""``torch.compile(model, backend="byoc")``.

    Dynamo ─graph─▶ AOT Autograd ─ATen, functional─▶ importer ─▶ byoc.compile ─▶ Executable
      │                  │                                                           │
    guards          mutations, views,                          tensors in and out share memory
                    gradients: torch's own

Weights are constants of the compiled model, so that vendors can prepack them. Each call compares
them with those compiled in (`torch_weights`). Changed weights are compiled in again; when they keep
changing, or once a change was noticed late, they become inputs. Results have the strides and share
the memory that torch's own would (`torch_results`). What cannot be compiled is run by torch, with a
`FallbackWarning`.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd

from byoc.errors import ByocError, FallbackWarning, ModelError, OptionError, choices
from byoc.executable import Executable
from byoc.integrations.torch_checks import keep_checks
from byoc.integrations.torch_results import WITHOUT_NUMPY, Results
from byoc.integrations.torch_weights import Change, FrozenWeights, can_be_frozen
from byoc.plugins.discovery import default_vendors

__all__ = ["FallbackWarning", "StaleWeightsWarning", "byoc", "executables"]

_UPDATES = 2
"""After so many changes of the same weights they are inputs."""

_SETS = 64
"""So many different sets of weights (layers that share code) are compiled in."""

_COMPILE = ("vendors", "placement", "policy", "costs", "budget", "dims", "min_segment_ops",
            "min_segment_flops", "heal")  # fmt: skip

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
    keep_checks(graph)
    compiler = aot_autograd(
        fw_compiler=_training(settings),
        bw_compiler=_by_torch,
        inference_compiler=lambda module, inputs: _inference(module, settings),
        decompositions=_decompositions(),
    )
    compiled: Callable[..., Any]
    try:
        compiled = compiler(graph, list(example_inputs))
    except ByocError:
        raise
    except Exception as error:  # operators that alias or write to their arguments without a rule
        text = f"backend 'byoc': torch cannot make a graph of pure operators: {error}"
        if settings.strict:
            raise ModelError(text) from error
        warnings.warn(f"torch runs a graph: {text}", FallbackWarning, stacklevel=2)
        compiled = graph.forward
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


class StaleWeightsWarning(UserWarning):
    """Weights were written to past torch's version counters, and calls may have used old ones."""


@dataclass
class _Bound:
    """A compiled graph with weights in it. run: from all arguments to all results."""

    weights: FrozenWeights
    run: Callable[[list[Any]], list[Any]]


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
                if bound.weights.are(weights) and not bound.weights.change(weights):
                    return bound.run(args)
            with self.lock:
                return self._compile_for(args, weights)(args)
        return free(args)

    def _compile_for(
        self, args: list[Any], weights: list[torch.Tensor]
    ) -> Callable[[list[Any]], list[Any]]:
        for bound in list(self.bound):
            if bound.weights.are(weights):
                change = bound.weights.change(weights)
                if not change:
                    return bound.run  # another thread was faster
                self.bound.remove(bound)
                self.updates += 1
                if change is Change.LATE:
                    self.updates = _UPDATES + 1
                    _warn_of_late(bound.weights)
        self.bound = [b for b in self.bound if b.weights.alive]
        frozen = bool(weights) and self.updates <= _UPDATES and len(self.bound) < _SETS
        if not frozen or not all(can_be_frozen(w) for w in weights):
            self.bound = []
            self.free = self._compile(args, ())
            return self.free
        remembered = FrozenWeights(weights)
        run = self._compile(args, self.weights)
        self.bound.append(_Bound(remembered, run))
        return run

    def _compile(self, args: list[Any], frozen: Sequence[int]) -> Callable[[list[Any]], list[Any]]:
        try:
            return _compiled(self.module, args, frozen, self.settings)
        except ByocError as error:
            if self.settings.strict or isinstance(error, OptionError):
                raise
            warnings.warn(f"torch runs a graph: {error}", FallbackWarning, stacklevel=2)
            return lambda given: list(self.module.forward(*given))


def _warn_of_late(weights: FrozenWeights) -> None:
    warnings.warn(
        f"backend 'byoc': weights were written to in a way that torch does not count (through "
        f"tensor.data, numpy or another process): the last {weights.calls_of_a_pass} calls may "
        f"have answered from old ones; from now on they are read on every call. After such writes "
        f"call torch.autograd.graph.increment_version(weight), or compile with "
        f"options={{'freeze': False}}",
        StaleWeightsWarning,
        stacklevel=2,
    )


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
    constants = {names[i]: args[i] for i in frozen}
    results = Results(module)
    opened = read_graph(
        module,
        "backend 'byoc'",
        Sizes(),
        constants,
        wanted=results.computed,
        as_stored=True,
        cut=not settings.strict,
        training=True,
    )
    if opened.kept == opened.operators > 0:
        raise ModelError(
            f"backend 'byoc': it holds nothing that byoc could compile: {', '.join(opened.unknown)}"
        )
    results.bind(opened.results, places)
    executable: Executable | None = None
    used = [places[n] for n in opened.inputs]
    count = sum(isinstance(r, int) or r[0] == "number" for r in opened.results)
    if count:
        outputs = tuple(f"output_{i}" for i in range(count))
        model: Model = finish(opened.graph, "graph", opened.inputs, outputs, "torch")
        executable = compile_model(model, **settings.compile)
        _executables.add(executable)
    return _caller(executable, used, results)


def _caller(
    executable: Executable | None,
    used: Sequence[int],
    results: Results,
) -> Callable[[list[Any]], list[Any]]:
    def run(args: list[Any]) -> list[Any]:
        outputs: list[Any] = []
        if executable is not None:
            found = executable(*[_to_numpy(args[i]) for i in used])
            outputs = list(found) if isinstance(found, tuple) else [found]
        return results.of(args, outputs)

    return run


def _to_numpy(tensor: torch.Tensor) -> Any:
    """The tensor's memory; dtypes that numpy lacks go through DLPack."""
    plain = tensor.detach()
    if plain.is_neg():
        plain = plain.resolve_neg()
    if plain.dtype in WITHOUT_NUMPY:
        return plain.contiguous()
    return plain.numpy()
