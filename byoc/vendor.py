"""The whole contract between byoc and a vendor: `Vendor`, `Pattern`, `Match`, `Reject`.

A vendor is a value. It says what it can take (`patterns`), compiles a segment to bytes
(`compile`), and names the runtime that turns those bytes back into something callable::

    VENDOR = Vendor(
        name="acme",
        version="1.0",
        patterns=patterns,            # () -> Sequence[Pattern]; may import tvm.relax.dpl
        compile=compile_segment,      # (Segment, options) -> Artifact
        runtime=NativeRuntime("byoc_acme"),
    )

A package publishes it under the entry-point group ``byoc.vendors``::

    [project.entry-points."byoc.vendors"]
    acme = "byoc_acme:VENDOR"

Importing the module that holds the value must be cheap: no TVM, no SDK. `patterns` and
`compile` import what they need when called, `status` tells whether the SDK is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pydantic

from byoc.errors import VendorError
from byoc.segment import Array, Artifact, Node, Segment, TensorType

if TYPE_CHECKING:
    from tvm.relax.dpl import DFPattern

__all__ = [
    "API_VERSION",
    "Match",
    "NativeRuntime",
    "NoOptions",
    "Pattern",
    "PythonRuntime",
    "Rates",
    "Reject",
    "Vendor",
    "check_patterns",
    "check_vendor",
]

API_VERSION = 1
"""Version of this contract. A vendor built for another version is refused with both numbers."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a vendor does not take a match.

    Attributes:
        reason: One sentence; users see it in the report.
    """

    reason: str


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
        library: The base name: ``lib<library>.so`` is looked for in the package's ``lib`` folder.
        package: The installed distribution whose files include the library.
    """

    library: str
    package: str = "tvm-byoc"


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """A Python function that runs a vendor's compiled segments, for SDKs with a Python API only.

    Attributes:
        init: (blob, constants, options) -> execute. It is given `Artifact.blob`,
            `Artifact.constants` and the options as a dict, and prepares one segment. The function
            it returns, execute: (inputs, outputs) -> None, is given two sequences of numpy arrays
            and writes the outputs in place. Several threads may call execute at once.
    """

    init: Callable[
        [bytes, Sequence[Array], Mapping[str, Any]],
        Callable[[Sequence[Array], Sequence[Array]], None],
    ]


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


def _no_estimate(match: Match) -> float | None:
    return None


class NoOptions(pydantic.BaseModel):
    """The options model of a vendor without options: it accepts none."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def _all_patterns(options: Any, patterns: Sequence[Pattern]) -> Sequence[Pattern]:
    return patterns


@dataclass(frozen=True)
class Vendor:
    """One backend: the ops it takes, its compiler, and the runtime for what it compiled.

    The first five attributes are required; each later one has a default.

    Attributes:
        name: A lower-case identifier. Names of segments begin with it ("dnnl_0"), and TVM's own
            passes call the compiler as `relax.ext.<name>`.
        version: The version of the backend. Caches are keyed by it, and the artifact's manifest
            records it.
        patterns: () -> the patterns that the vendor offers.
        compile: (Segment, options) -> Artifact. It raises `byoc.errors.CompileError` when it
            cannot compile the segment.
        runtime: The code that runs the artifact.
        status: () -> None when the backend is usable on this machine, else one sentence that says
            why not. Default: always usable.
        options: The pydantic model of the vendor's options, with ``extra="forbid"``. Default: no
            options.
        processor: The name of the queue that the vendor's segments run on. Segments on one queue
            run one after the other, those on different queues at the same time. Default: "cpu".
        rates: How fast the backend is, for predicting costs. Default: `Rates()`.
        estimate: (Match) -> the seconds that the matched composite takes inside a segment, or
            None to predict them from `rates`. Default: None for every match.
        choose: (options, patterns) -> those patterns that apply under these options. Default: all
            of them.
        default: Whether the vendor is used where one is needed and the user names none, as in
            ``torch.compile(…, backend="byoc")``. Default: False.
        api_version: The version of this contract that the vendor was written for.
    """

    name: str
    version: str
    patterns: Callable[[], Sequence[Pattern]]
    compile: Callable[[Segment, Any], Artifact]
    runtime: NativeRuntime | PythonRuntime
    status: Callable[[], str | None] = lambda: None
    options: type[pydantic.BaseModel] = NoOptions
    processor: str = "cpu"
    rates: Rates = field(default_factory=Rates)
    estimate: Callable[[Match], float | None] = _no_estimate
    choose: Callable[[Any, Sequence[Pattern]], Sequence[Pattern]] = _all_patterns
    default: bool = False
    api_version: int = API_VERSION


def _arity(function: Callable[..., object], count: int) -> bool:
    """True when `function` can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # builtins without a signature: nothing to check
        return True
    return True


def check_vendor(vendor: object, origin: str = "this value") -> Vendor:
    """Return `vendor` after checking that it keeps the contract.

    Args:
        vendor: What a package published as its vendor; any object.
        origin: Where the value came from, for the error messages.

    Returns:
        The same object.

    Raises:
        VendorError: The value is not a `Vendor`, was written for another API version, has a bad
            name, or has a field of the wrong type, a hook that is not callable or one that takes
            the wrong number of arguments. The message is written for the vendor's author.
    """
    if not isinstance(vendor, Vendor):
        raise VendorError(
            f"vendor author: {origin} is a {type(vendor).__name__}, expected a byoc.Vendor value"
        )
    who = f"vendor author: {vendor.name!r} ({origin})"
    if vendor.api_version != API_VERSION:
        raise VendorError(
            f"{who} was written for vendor API {vendor.api_version}, this byoc has {API_VERSION}; "
            f"install a matching release of the vendor package or of byoc"
        )
    if not (isinstance(vendor.name, str) and vendor.name.isidentifier() and vendor.name.islower()):
        raise VendorError(f"{who}: name must be a lower-case identifier, found {vendor.name!r}")
    hooks = (("patterns", 0), ("compile", 2), ("status", 0), ("estimate", 1), ("choose", 2))
    for hook, count in hooks:
        function = getattr(vendor, hook)
        if not callable(function):
            found = type(function).__name__
            raise VendorError(f"{who}: hook {hook!r} must be callable, found {found}")
        if not _arity(function, count):
            raise VendorError(
                f"{who}: hook {hook!r} must take {count} positional argument(s), "
                f"found {inspect.signature(function)}"
            )
    if not isinstance(vendor.runtime, (NativeRuntime, PythonRuntime)):
        raise VendorError(
            f"{who}: runtime must be a NativeRuntime or PythonRuntime, "
            f"found {type(vendor.runtime).__name__}"
        )
    if not isinstance(vendor.rates, Rates):
        raise VendorError(f"{who}: rates must be byoc.vendor.Rates, found {vendor.rates!r:.80}")
    if not (isinstance(vendor.options, type) and issubclass(vendor.options, pydantic.BaseModel)):
        raise VendorError(f"{who}: options must be a subclass of pydantic.BaseModel")
    if vendor.options.model_config.get("extra") != "forbid":
        raise VendorError(
            f"{who}: options must refuse unknown fields (model_config extra='forbid')"
        )
    return vendor


def check_patterns(vendor: Vendor) -> tuple[Pattern, ...]:
    """Return a vendor's patterns in the order in which they are tried, after checking them.

    Args:
        vendor: A vendor that `check_vendor` accepted.

    Returns:
        The patterns, highest priority first; the vendor's own order among equal priorities.

    Raises:
        VendorError: Two patterns have one name, a value is not a `Pattern`, or a pattern's check
            cannot be called with one match.
    """
    who = f"vendor author: {vendor.name!r}"
    patterns = tuple(vendor.patterns())
    seen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, Pattern):
            raise VendorError(
                f"{who}: patterns() must return byoc.Pattern values, found {type(pattern).__name__}"
            )
        if pattern.name in seen:
            raise VendorError(f"{who}: two patterns are named {pattern.name!r}; names are unique")
        seen.add(pattern.name)
        if not callable(pattern.check) or not _arity(pattern.check, 1):
            raise VendorError(f"{who}: check of pattern {pattern.name!r} must take one match")
    return tuple(sorted(patterns, key=lambda p: -p.priority))
