"""The whole contract between byoc and a vendor: `Vendor`, `Pattern`, `Match`, `Reject`.

A vendor is a value. It says what it can take (`patterns`), compiles a segment to bytes
(`compile`), and names the runtime that turns those bytes back into something callable::

    VENDOR = Vendor(
        name="acme",
        version="1.0",
        patterns=patterns,            # () -> Sequence[Pattern]; may import tvm.relax.dpl
        compile=compile_segment,      # (Segment, options) -> Artifact
        runtime=NativeRuntime("byoc_acme", package="byoc-acme"),
    )

A package publishes it under the entry-point group ``byoc.vendors``::

    [project.entry-points."byoc.vendors"]
    acme = "byoc_acme:VENDOR"

Importing the module that holds the value must be cheap: no TVM, no SDK. `patterns` and
`compile` import what they need when called, `status` tells whether the SDK is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import pydantic

from byoc.design import DesignSpace, ModelSegments
from byoc.errors import VendorError
from byoc.segment import (
    Array,
    Artifact,
    Blob,
    HostArtifact,
    Node,
    PortType,
    Segment,
    TensorType,
)

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    from tvm.relax.dpl import DFPattern

__all__ = [
    "API_VERSION",
    "RESERVED_NAMES",
    "Done",
    "Equipment",
    "HostRuntime",
    "LibraryRuntime",
    "MakeEngine",
    "Match",
    "NativeRuntime",
    "NoOptions",
    "Pattern",
    "PythonRuntime",
    "Rates",
    "Reject",
    "Rewrite",
    "Runtime",
    "SegmentContext",
    "Vendor",
]

RESERVED_NAMES = frozenset({"all", "byoc", "cpu", "fallback", "host", "none", "tvm"})
"""Names that no vendor may have: places, processors and words of the command line."""

API_VERSION = 1
"""Version of this contract. A vendor built for another version is refused with both numbers."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a vendor does not take a match.

    Attributes:
        reason: One sentence; users see it in the report.

    Raises:
        VendorError: The reason is no text, or an empty one. A match is taken by returning None.
    """

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise VendorError(
                f"vendor author: Reject takes one sentence that says why, found {self.reason!r}; "
                f"return None, not Reject(None), to take the match"
            )


class Match(Protocol):
    """A group of ops in the model that fits a pattern; `Pattern.check` receives it.

    It describes the ops and does no work on them: a check must never repack weights, compile or
    run anything, because it is called for every place where a pattern fits.
    """

    @property
    def pattern(self) -> str:
        """The name of the pattern that fits."""
        ...

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The matched ops, in topological order; `type` and `constant` take their value ids."""
        ...

    def node(self, part: str) -> Node:
        """Return the op that produces a named part.

        Args:
            part: A name of `Pattern.parts`.

        Raises:
            KeyError: The part is unknown, or is an input or constant that no op produces.
        """
        ...

    def has(self, part: str) -> bool:
        """Return whether a part occurs in this match; an `optional` part may be absent.

        Args:
            part: A name of `Pattern.parts`.
        """
        ...

    def type(self, part: str | int) -> TensorType:
        """Return the shape and the dtype of a value.

        Args:
            part: A name of `Pattern.parts`, which stands for the first output of that part, or a
                value id of `nodes`.

        Raises:
            KeyError: The part is unknown, or is not a tensor.
        """
        ...

    def constant(self, part: str | int) -> Array | None:
        """Return the array of a value that is constant.

        Args:
            part: A name of `Pattern.parts`, or a value id of `nodes`.

        Returns:
            The model's own array (do not write to it), or None when the value is not a constant.
        """
        ...


def _accept(match: Match) -> None:
    return None


@dataclass(frozen=True)
class Pattern:
    """A small graph of ops that a vendor offers to compile wherever a model contains it.

    Attributes:
        name: Unique within the vendor ("conv2d_bias_relu"). It is a label for reports and for
            `compile`; byoc derives nothing from it.
        expr: A `tvm.relax.dpl` pattern; its root is the last op.
        parts: Name → the sub-pattern of `expr` it stands for, for those that `check` and
            `compile` want to refer to.
        check: (Match) -> None to take the match, or `Reject` with the reason not to.
        priority: Patterns of higher priority are tried first; those of equal priority, in the
            order of the list.
    """

    name: str
    expr: DFPattern
    parts: Mapping[str, DFPattern] = field(default_factory=dict)
    check: Callable[[Match], Reject | None] = _accept
    priority: int = 0


@dataclass(frozen=True, slots=True)
class NativeRuntime:
    """A shared library that runs a vendor's compiled segments; ``byoc/vendor.h`` says how.

    Attributes:
        library: The base name, of letters, digits and ``_.-+``: ``lib<library>.so`` is looked for
            among the files of the package, then in the folders of ``BYOC_LIBRARY_PATH``.
        package: The installed distribution whose files include the library: your own. The default
            is byoc itself, for the vendors that it ships.
    """

    library: str
    package: str = "tvm-byoc"


class Done(Protocol):
    """A call that `submit` has begun: how the vendor ends it, and hears that nobody waits any more.

    Any thread may use it, at any time. A call ends once; the arrays it was given are valid until
    then. Letting go of it without ending the call is an error of the call, and ending a call twice
    makes every later call of the segment an error.
    """

    def __call__(self, error: BaseException | str | None = None) -> None:
        """End the call: its outputs are written, or `error` says why not."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer: the request was cancelled, or its deadline over."""
        ...

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the answer is of no use any more; None where there is no deadline."""
        ...

    def on_cancel(self, tell: Callable[[], object]) -> None:
        """Have ``tell()`` called when the call is cancelled, on any thread; at once if it was.

        Stop what can be stopped, and end the call within a second. After that byoc gives the
        request up, but does not use the memory of its arrays again.
        """
        ...


def _one_device() -> int:
    return 1


Execute = Callable[[Sequence[Array], Sequence[Array]], None]
"""(inputs, outputs) -> None: computes a segment."""

Submit = Callable[[Sequence[Array], Sequence[Array], Done], None]
"""(inputs, outputs, done) -> None: begins to compute a segment; `done` is called at the end."""


@dataclass(frozen=True, slots=True)
class LibraryRuntime:
    """For vendors whose blob is a shared object: byoc loads it and calls one function.

    The vendor need not be installed where the model runs. The function takes tensors of tvm-ffi,
    ``(inputs..., constants..., outputs...)``, dense and aligned to 64 bytes, and writes every
    element of the outputs: a PrimFunc that ``tvm.compile`` has compiled, or C++ with
    ``TVM_FFI_DLL_EXPORT_TYPED_FUNC``. Kernels of TVM share byoc's threads.

    Attributes:
        symbol: The name of the function; the library exports ``__tvm_ffi_<symbol>``.
    """

    symbol: str = "execute"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a vendor finds on this machine; compared with `Requires` of an artifact.

    Attributes:
        devices: The models of its devices, spelled as in `Requires.device`.
        driver: The version of its driver.
        memory: Bytes of memory of the largest device.
    """

    devices: tuple[str, ...] = ()
    driver: str = ""
    memory: int = 0


_Engine = TypeVar("_Engine")


class MakeEngine(Protocol):
    """What `SegmentContext.engine` is; called within `init`."""

    def __call__(
        self,
        of: Sequence[str],
        build: Callable[[], _Engine],
        save: Callable[[_Engine], Blob],
        load: Callable[[memoryview], _Engine],
    ) -> _Engine:
        """Load an engine where this machine has built the same one before, else build and keep it.

        It is the same where blob, constants, options, the vendor's version and module, threads, the
        CPU, `PythonRuntime.equipment` and `of` are. Processes that want it at once wait for the
        first. Trouble with the cache is for the log, never an error.

        Args:
            of: What else the engine depends on: versions of the library, its device, its driver.
            build: () -> the engine, slowly.
            save: (engine) -> its bytes (or a memoryview of them).
            load: (bytes that `save` gave) -> the engine, quickly. The bytes are mapped from a file
                for as long as somebody holds the memoryview. When it raises, they are set aside and
                the engine is built.
        """
        ...


@dataclass(frozen=True, slots=True)
class SegmentContext:
    """What a Python-hosted vendor may know of a segment beside its artifact.

    Attributes:
        segment: The name of the segment, unique in its model, for messages.
        version: The version of the vendor that compiled it.
        processor: The name of the queue that it runs on.
        threads: How many threads of the CPU it may compute with.
        inputs: Names and types of the inputs, in order; empty where an old file does not tell.
        outputs: Likewise of the outputs.
        log: Where to write what users may want to read: the logger ``byoc.vendor.<name>``.
        cache_folder: () -> the vendor's own folder for files that make the next start quicker. It
            is there; other processes use it at the same time. None where none can be written.
        key: (number of a constant) -> a name of its content. Equal names are equal dtypes, shapes
            and bytes, in whatever segment, model or process: what was packed of one weight can be
            shared, by a dict of weak references. It reads all the bytes.
        engine: (of, build, save, load) -> an engine that takes long to build, kept between
            processes: see `MakeEngine`.
    """

    segment: str
    version: str
    processor: str
    threads: int
    inputs: tuple[PortType, ...]
    outputs: tuple[PortType, ...]
    log: logging.Logger
    cache_folder: Callable[[], Path | None]
    key: Callable[[int], str]
    engine: MakeEngine


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """A Python function that runs a vendor's compiled segments, for SDKs with a Python API only.

    Attributes:
        init: (blob, constants, options) -> execute. It is given `Artifact.blob`,
            `Artifact.constants` and the options as JSON holds them (a dict; paths and enums are
            strings, tuples are lists), and prepares one segment. One that has a parameter named
            ``context`` is given a `SegmentContext` by that name. The function it returns, execute:
            (inputs, outputs) -> None, is given two sequences of numpy arrays, writes every element
            of the outputs in place and returns nothing. Several threads may call it at once. When
            execute has a method ``close``, it is called once, after the last call.
        queue_depth: How many calls the device works on at a time. Above 0 `init` returns submit:
            (inputs, outputs, done) -> None instead, which begins a call and returns; `done` (see
            `Done`) is called when the device is done with it, from any thread. Such a vendor needs
            a `Vendor.processor` of its own.
        can_load: (blob, version of the vendor that compiled it) -> None, or one sentence that says
            why this version cannot run it; asked before `init`. Default: it can.
        equipment: () -> the vendor's devices and driver on this machine, for artifacts that
            require some. Default: it does not tell, and such artifacts are refused.
        devices: () -> how many equal devices there are on this machine. With two or more, `init`
            is called once for each, on the processors "npu:0", "npu:1" and so on (of a
            `Vendor.processor` "npu"), and every request runs on the one that has the fewest in
            flight. A native library says the same with BYOC_REGISTER_DEVICES.
        blob_view: Whether `init` and `can_load` are given the blob as a memoryview that may lie in
            the model's file, instead of bytes: for large ones, which are not copied then. It is
            valid until they return. Default: False.
    """

    init: Callable[..., Execute | Submit]
    queue_depth: int = 0
    devices: Callable[[], int] = _one_device
    can_load: Callable[[Any, str], str | None] | None = None
    equipment: Callable[[], Equipment] | None = None
    blob_view: bool = False


@dataclass(frozen=True, slots=True)
class HostRuntime:
    """For vendors that give kernels: `Vendor.compile` returns a `HostArtifact` instead of bytes.

    Kernels are PrimFuncs of TVM. byoc compiles all of a model in one go, its own among them, and
    calls them from the model's plan: there is nothing to load, and no border to cross. Such a
    vendor runs on the processor "cpu" and need not be installed where the model runs.
    """


Runtime: TypeAlias = NativeRuntime | PythonRuntime | LibraryRuntime | HostRuntime
"""The four ways in which compiled segments become functions."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a backend is; costs are predicted from it as long as nothing was measured.

    A composite takes ``max(operations / flops, bytes moved / bytes)`` seconds. A segment takes
    `launch` seconds more, and each tensor of n bytes that enters or leaves the backend takes
    ``border + n / border_bytes`` seconds. The defaults describe one core of an ordinary x86 CPU
    with AVX2.

    Attributes:
        flops: Floating-point operations per second.
        bytes: Bytes read and written per second inside a segment.
        launch: Seconds that one call adds; on the host, one kernel.
        border: Seconds per tensor that enters or leaves.
        border_bytes: Bytes per second at which such a tensor is copied, transferred or changed in
            layout; infinity when that is free.
        by_op: Relax name of an op ("nn.conv2d") → operations per second, for those ops whose
            speed is far from `flops`.
    """

    flops: float = 40e9
    bytes: float = 8e9
    launch: float = 3e-6
    border: float = 0.5e-6
    border_bytes: float = 4e9
    by_op: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        named = {f"by_op[{op!r}]": rate for op, rate in self.by_op.items()}
        for name in ("flops", "bytes", "border_bytes"):
            named[name] = getattr(self, name)
        for name, rate in named.items():
            if not rate > 0:
                raise VendorError(f"vendor author: Rates.{name} must be above 0, found {rate!r}")
        for name in ("launch", "border"):
            seconds = getattr(self, name)
            if not 0 <= seconds < float("inf"):
                raise VendorError(
                    f"vendor author: Rates.{name} must be seconds, 0 or more, found {seconds!r}"
                )


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A change of a PyTorch model's source that a vendor gains from: data, for ``byoc adopt``.

    Both sides are Python: a function, or a class with ``__init__`` (layers) and ``forward`` (their
    use). Parameters stand for any value; an annotation narrows that to "number" (of Python) or
    "constant" (made of the module's own tensors). ``torch``, ``nn``, ``F`` and ``math`` are there.

    Attributes:
        name: What users see and choose it by ("fused-qkv"); several rewrites may share it.
        why: One sentence: what the vendor does with the code as it is.
        before: What is looked for. The last statement returns it; a tuple is several results.
        after: What is written instead: ``forward`` is one ``return``, ``__init__`` assigns layers.
        parameters: New parameter → where it comes from: ``concat(q.weight, k.weight)``,
            ``unsqueeze(l.weight, -1)``, ``ls.*.weight`` for those of a list of layers.
        feeds: Operators that may read the results; empty: any.
        note: When the numbers are others, if ever; one sentence.
    """

    name: str
    why: str
    before: str
    after: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    feeds: tuple[str, ...] = ()
    note: str = ""


def _no_rewrites() -> Sequence[Rewrite]:
    return ()


def _no_estimate(match: Match) -> float | None:
    return None


class NoOptions(pydantic.BaseModel):
    """The options model of a vendor without options: it accepts none."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def _float32_only(options: Any, precision: str) -> str | None:
    return "it computes in float32 alone"


def _all_patterns(options: Any, patterns: Sequence[Pattern]) -> Sequence[Pattern]:
    return patterns


@dataclass(frozen=True)
class Vendor:
    """One backend: the ops it takes, its compiler, and the runtime for what it compiled.

    The first five attributes are required; each later one has a default.

    Attributes:
        name: A lower-case identifier of ASCII letters, digits and ``_``, but none of those that
            mean something else (`RESERVED_NAMES`, keywords of Python). Names of segments begin
            with it ("dnnl_0"), and TVM's own passes call the compiler as `relax.ext.<name>`.
        version: The version of the backend. Caches are keyed by it, and the artifact's manifest
            records it.
        patterns: () -> the patterns that the vendor offers.
        compile: (Segment, options) -> Artifact; or HostArtifact, where the runtime is a
            `HostRuntime`. It raises `byoc.errors.CompileError` when it cannot compile the segment.
        runtime: The code that runs the artifact.
        status: () -> None when the backend is usable on this machine, else one sentence that says
            why not. Default: always usable.
        options: The pydantic model of the vendor's options, with ``extra="forbid"``. Default: no
            options.
        processor: The name of the queue that the vendor's segments run on. Segments on one queue
            run one after the other, those on different queues at the same time. Several devices
            (`PythonRuntime.devices`) have a queue each, "npu:0", "npu:1". Default: "cpu".
        rates: How fast the backend is, for predicting costs. Default: `Rates()`.
        estimate: (Match) -> the seconds that the matched composite takes inside a segment, or
            None to predict them from `rates`. Default: None for every match.
        choose: (options, patterns) -> those patterns that apply under these options. Default: all
            of them.
        rewrites: () -> changes of a model's source that the vendor gains from, for ``byoc adopt``;
            cheap, like importing the vendor. Default: none.
        design: (models, options) -> the accelerators that the vendor could be for the segments of
            these models (`byoc.design.DesignSpace`), for ``byoc dse``. None: it is one machine.
        keep: () -> what an artifact depends on beside segment, options, the vendor's version and
            modules, threads, CPU and devices: versions of the compiler and its libraries. With it
            artifacts are kept on this machine, and a segment that was compiled before is not
            compiled again, whatever it is called: for vendors whose `compile` takes seconds and
            derives all from its arguments. Default: compiled each time.
        precision: (options, "bf16" or "f16") -> None when segments can be computed in it here, else
            one clause that says why not ("this CPU has no bfloat16 instructions"). `options` then
            have a field ``precision``, by default "f32", that `compile` obeys and the artifact
            keeps: segments of one model may differ. Their inputs and outputs stay as they are.
            Default: in none of them.
        default: Whether the vendor is used where one is needed and the user names none, as in
            ``torch.compile(…, backend="byoc")``. Default: False.
        api_version: The version of this contract that the vendor was written for.
    """

    name: str
    version: str
    patterns: Callable[[], Sequence[Pattern]]
    compile: Callable[[Segment, Any], Artifact | HostArtifact]
    runtime: Runtime
    status: Callable[[], str | None] = lambda: None
    options: type[pydantic.BaseModel] = NoOptions
    processor: str = "cpu"
    rates: Rates = field(default_factory=Rates)
    estimate: Callable[[Match], float | None] = _no_estimate
    choose: Callable[[Any, Sequence[Pattern]], Sequence[Pattern]] = _all_patterns
    rewrites: Callable[[], Sequence[Rewrite]] = _no_rewrites
    design: Callable[[ModelSegments, Any], DesignSpace] | None = None
    keep: Callable[[], Sequence[str]] | None = None
    precision: Callable[[Any, str], str | None] = _float32_only
    default: bool = False
    api_version: int = API_VERSION
