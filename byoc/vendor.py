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
    """Why a vendor does not take a match: one sentence, shown to users in the report."""

    reason: str


class Match(Protocol):
    """A place in the graph where a pattern fits; what `Pattern.check` looks at.

    Metadata only: a check must never repack, compile or run anything.
    """

    @property
    def pattern(self) -> str:
        """Name of the pattern that fits."""
        ...

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The matched nodes, topological; their value ids are those `type` understands."""
        ...

    def node(self, part: str) -> Node:
        """The node that produces a named part. Raises KeyError for an unknown part."""
        ...

    def has(self, part: str) -> bool:
        """True when the part took part in this match (an `optional` one may not)."""
        ...

    def type(self, part: str | int) -> TensorType:
        """Type of a named part (of its first output), or of a value id of `nodes`."""
        ...

    def constant(self, part: str | int) -> Array | None:
        """The array behind a named part or value id when it is a constant, else None."""
        ...


def _accept(match: Match) -> None:
    return None


@dataclass(frozen=True)
class Pattern:
    """A shape of graph that a vendor can take.

    name: unique within the vendor ("conv2d_bias_relu"); a label, it carries no meaning.
    expr: a `tvm.relax.dpl` pattern; its root is the last op.
    parts: names for sub-patterns that `check` and `compile` want to refer to.
    check: (Match) -> None to take it, or `Reject(reason)`.
    priority: higher is tried first; equal priorities keep the order of the list.
    """

    name: str
    expr: DFPattern
    parts: Mapping[str, DFPattern] = field(default_factory=dict)
    check: Callable[[Match], Reject | None] = _accept
    priority: int = 0


@dataclass(frozen=True, slots=True)
class NativeRuntime:
    """A shared library that serves segments: see ``byoc/vendor.h``.

    library: base name; ``lib<library>.so`` is looked for in the package's ``lib`` folder.
    package: distribution whose files hold the library.
    """

    library: str
    package: str = "tvm-byoc"


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """A Python callable that serves segments, for SDKs that only speak Python.

    init: (blob, constants, options as a dict) -> execute;
    execute: (inputs, outputs) -> None, both sequences of numpy arrays; outputs are written in
    place. It may be called from several threads at once.
    """

    init: Callable[
        [bytes, Sequence[Array], Mapping[str, Any]],
        Callable[[Sequence[Array], Sequence[Array]], None],
    ]


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a place is: what placement predicts from before anything was measured.

    A composite on a place takes ``max(operations / flops, bytes moved / bytes)`` seconds, a
    segment `launch` seconds more, and a tensor of n bytes that enters or leaves it ``border +
    n / border_bytes``. The defaults are those of one core of an ordinary x86 with AVX2.

    flops: floating-point operations per second. bytes: read and written per second, inside a
    segment. launch: seconds of one call (on the host: of each kernel). border: seconds per tensor
    that crosses. border_bytes: bytes per second of that crossing: copy, layout change, transfer;
    infinity when it is free. by_op: operations per second of single ops, by Relax name
    ("nn.conv2d"), where they are far from `flops`.
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
    """The options of a vendor that has none."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def _all_patterns(options: Any, patterns: Sequence[Pattern]) -> Sequence[Pattern]:
    return patterns


@dataclass(frozen=True)
class Vendor:
    """One backend, as a value.

    name: lower case, an identifier; also its `relax.ext.<name>` and the prefix of its segments.
    version: version of the backend; part of cache keys and of the artifact's manifest.
    patterns: () -> the patterns it offers.
    compile: (Segment, options) -> Artifact. Raise `byoc.errors.CompileError` to refuse.
    runtime: who runs the artifact.
    status: (optional) () -> None when usable, else one sentence why not. Default: usable.
    options: (optional) pydantic model of its options, ``extra="forbid"``. Default: none.
    processor: (optional) the queue its segments run on. Default: "cpu".
    rates: (optional) how fast it is. Default: `Rates()`.
    estimate: (optional) (Match) -> seconds of one composite inside a segment, or None to go by
        `rates`. Default: None for all.
    choose: (optional) (options, patterns) -> those of the patterns that these options leave in
        force. Default: all.
    default: (optional) used where users name no vendor and one is needed, as by
        ``torch.compile(…, backend="byoc")``. Default: False.
    api_version: version of this contract the vendor was written for.
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
    """Return `vendor` when it keeps the contract; `origin` tells its author where it came from.

    Raises VendorError, in words for the vendor's author, on a value that is no `Vendor`, another
    API version, a bad name, a hook that is not callable or has the wrong number of arguments.
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
    """Return the vendor's patterns, in the order they are tried (priority, then list order).

    Raises VendorError on duplicate names, values that are no `Pattern`, checks that cannot be
    called with one match.
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
