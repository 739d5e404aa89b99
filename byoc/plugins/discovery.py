"""Find vendors by entry point, and turn what a user asks for into checked requests.

    entry points "byoc.vendors" ──load──▶ Vendor ──check──▶ VendorInfo (available, or why not)
    vendors=["dnnl", VALUE] or {"dnnl": {...}} ──resolve──▶ Requested(vendor, options, patterns)

Nothing is registered on import: every call asks the installed packages afresh, and the only
cache is Python's own module table. ``BYOC_BLOCK_VENDORS=a,b`` hides vendors from byoc.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from byoc.contract_checks import check_patterns, check_vendor
from byoc.errors import OptionError, VendorError, choices
from byoc.plugins.vendor_options import validate_options
from byoc.runtime.native import find_library
from byoc.runtime.program import VendorUse
from byoc.runtime.vendor_runtimes import devices_of
from byoc.support.arguments import check_kind
from byoc.vendor import NativeRuntime, Pattern, Vendor

__all__ = [
    "BLOCK_VARIABLE",
    "GROUP",
    "Requested",
    "VendorInfo",
    "VendorSpec",
    "default_vendors",
    "find",
    "install_hint",
    "resolve",
    "vendors",
    "with_options",
]

GROUP = "byoc.vendors"
"""The entry-point group under which packages publish vendors."""

BLOCK_VARIABLE = "BYOC_BLOCK_VENDORS"
"""The environment variable that hides vendors, by name, separated by commas."""

VendorSpec = Sequence[str | Vendor] | Mapping[str | Vendor, Mapping[str, Any]]
"""What users pass as ``vendors``: names or values, or a mapping of these to options."""


@dataclass(frozen=True, slots=True)
class VendorInfo:
    """One vendor as `byoc vendors` shows it.

    Attributes:
        name: what users ask for.
        version: the backend's; "" when the vendor cannot be imported.
        available: whether it can be used here.
        reason: why it cannot; else empty.
        origin: the package that publishes it.
        processor: the queue its segments run on.
        devices: the queues of its devices on this machine, "npu:0" and so on; `processor` alone
            where it has one, nothing where it cannot be used.
    """

    name: str
    version: str
    available: bool
    reason: str
    origin: str
    processor: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Requested:
    """A usable vendor with its options checked.

    Attributes:
        vendor: the vendor, with the patterns that the options leave in force.
        options: a value of the vendor's options model.
        patterns: in the order in which they are tried.
        unusable: why the vendor cannot run here; empty where it can.
    """

    vendor: Vendor
    options: Any
    patterns: tuple[Pattern, ...]
    unusable: str = ""


def _blocked() -> set[str]:
    return {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",") if name.strip()}


def _entries() -> dict[str, EntryPoint]:
    """Name → entry point. Raises VendorError when two packages claim one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise VendorError(
                f"vendor {entry.name!r} is offered twice: by {_origin(known)} and "
                f"{_origin(entry)}; uninstall one of them"
            )
    return found


def _origin(entry: EntryPoint) -> str:
    if entry.dist is None:
        return f"entry point {entry.value}"
    about = entry.dist.metadata  # read from its file each time that it is asked for
    return f"entry point {entry.value}, package {about['Name']} {about['Version']}"


def _load(entry: EntryPoint) -> Vendor:
    try:
        value = entry.load()
    except Exception as error:  # a broken vendor package must not break byoc
        raise VendorError(
            f"vendor {entry.name!r} cannot be imported ({_origin(entry)}): "
            f"{type(error).__name__}: {error}"
        ) from error
    vendor = check_vendor(value, _origin(entry))
    if vendor.name != entry.name:
        raise VendorError(
            f"vendor author: {_origin(entry)} is published as {entry.name!r} but calls itself "
            f"{vendor.name!r}; the two names must agree"
        )
    return vendor


def _devices(vendor: Vendor) -> tuple[str, ...]:
    """The processors of its devices; nothing is loaded for one that computes on the CPU."""
    if vendor.processor == "cpu":
        return (vendor.processor,)
    return devices_of(vendor.name, VendorUse(vendor.version, {}, vendor.runtime, vendor.processor))


def _unusable(vendor: Vendor, publisher: str | None = None) -> str | None:
    """Why the vendor cannot be used here, or None. publisher: the package that offers it."""
    if isinstance(vendor.runtime, NativeRuntime):
        library, package = vendor.runtime.library, vendor.runtime.package
        try:
            find_library(library, package)
        except VendorError as error:
            forgotten = publisher is not None and package == NativeRuntime(library).package
            if forgotten and publisher != package:
                return (
                    f"vendor author: NativeRuntime({library!r}) looks in byoc's own package "
                    f"{package!r}, the vendor comes with {publisher!r}; write "
                    f"NativeRuntime({library!r}, package={publisher!r})"
                )
            return str(error)
    try:
        reason: object = vendor.status()
    except Exception as error:
        return f"status() of the vendor failed: {type(error).__name__}: {error}"
    if reason is not None and (not isinstance(reason, str) or not reason.strip()):
        return (
            f"vendor author: status() must return None when the vendor is usable, else one "
            f"sentence that says why not, found {reason!r}"
        )
    return reason


def vendors(only: Collection[str] | None = None) -> tuple[VendorInfo, ...]:
    """List every vendor that is installed: usable, or the reason why not.

    Args:
        only: names of the vendors to ask; None: all.

    Returns:
        One entry per vendor, sorted by name; a broken vendor is an entry with a reason.

    Examples:
        >>> [info.name for info in byoc.vendors() if info.available and info.name == "dnnl"]
        ['dnnl']
    """
    blocked = _blocked()
    infos = []
    for name, entry in sorted(_entries().items()):
        if only is not None and name not in only:
            continue
        version, processor = "", ""
        devices: tuple[str, ...] = ()
        try:
            vendor = _load(entry)
            version, processor = vendor.version, vendor.processor
            reason = _unusable(vendor, entry.dist.name if entry.dist else None)
            if reason is None:
                devices = _devices(vendor)
        except VendorError as error:
            reason = str(error)
        if name in blocked:
            reason = f"blocked by the environment variable {BLOCK_VARIABLE}"
        origin = entry.dist.name if entry.dist else entry.value
        usable = reason is None
        infos.append(VendorInfo(name, version, usable, reason or "", origin, processor, devices))
    return tuple(infos)


def find(name: str) -> Vendor:
    """Find an installed vendor by name, usable or not.

    Args:
        name: as the package publishes it.

    Returns:
        The vendor, checked against the contract.

    Raises:
        VendorError: it is unknown (the message lists what there is), blocked or broken.
    """
    entries = _entries()
    if name in _blocked():
        raise VendorError(f"vendor {name!r} is blocked by {BLOCK_VARIABLE}; unset it to use it")
    if name not in entries:
        raise VendorError(
            f"unknown vendor {name!r}: no installed package offers it under the entry-point "
            f"group {GROUP!r}; {choices(name, entries)}"
        )
    return _load(entries[name])


def default_vendors() -> tuple[str, ...]:
    """Names of the vendors to use where users name none: those that call themselves the default.

    Returns:
        Names, sorted; a vendor whose SDK is missing is among them, so that its use says so.
    """
    blocked = _blocked()
    found = []
    for name, entry in sorted(_entries().items()):
        try:
            if name not in blocked and _load(entry).default:
                found.append(name)
        except VendorError:  # a broken package is nobody's default; `byoc vendors` shows it
            continue
    return tuple(found)


def install_hint(name: str) -> str:
    """Tell how to install a vendor with everything it needs.

    Args:
        name: the vendor's name; an installed package publishes it.

    Returns:
        A pip command. A package that has an extra of the vendor's name is installed with it.
    """
    dist = _entries()[name].dist
    if dist is None:
        return "see its package"
    extras = dist.metadata.get_all("Provides-Extra") or []
    return f"pip install '{dist.name}[{name}]'" if name in extras else f"pip install {dist.name}"


def resolve(spec: VendorSpec, *, to_run: bool = True) -> tuple[Requested, ...]:
    """Check what a user asks for. An empty spec is legal: everything goes to the host.

    Args:
        spec: names or `Vendor` values, or a mapping of these to options.
        to_run: whether something is built and run; what a vendor takes can be asked without its
            SDK.

    Returns:
        The vendors in the order that was asked for, which is the order of preference.

    Raises:
        VendorError: a vendor is unknown, not usable, asked for twice, or malformed. One that cannot
            be used is never left out: an error, or marked as `unusable` unless it is `to_run`.
        OptionError: options that the vendor does not have.
    """
    if isinstance(spec, str):
        raise VendorError(
            f"vendors must be a list or a mapping, found the string {spec!r}; "
            f"write vendors=[{spec!r}]"
        )
    check_kind("vendors", spec, Iterable, "a list or a mapping", VendorError)
    items = spec.items() if isinstance(spec, Mapping) else [(item, {}) for item in spec]
    requests: list[Requested] = []
    for item, options in items:
        if isinstance(item, str):
            vendor = find(item)
        elif isinstance(item, Vendor):
            vendor = check_vendor(item)
        else:
            raise VendorError(
                f"vendors takes names or byoc.Vendor values, found {type(item).__name__}"
            )
        if any(vendor.name == request.vendor.name for request in requests):
            raise VendorError(f"vendor {vendor.name!r} is requested twice")
        reason = _unusable(vendor, _publisher(item))
        if reason is not None and to_run:
            raise VendorError(f"vendor {vendor.name!r} was requested but is not usable: {reason}")
        if not isinstance(options, Mapping):
            raise OptionError(
                f"options of vendor {vendor.name!r} must be a mapping, "
                f"found {type(options).__name__}"
            )
        requested = _requested(vendor, validate_options(vendor, options))
        requests.append(replace(requested, unusable=reason or ""))
    return tuple(requests)


def with_options(request: Requested, options: Any) -> Requested:
    """The same vendor under other options.

    Args:
        request: a vendor that was asked for.
        options: a checked value of its options model.

    Returns:
        A request with the patterns that these options leave in force.
    """
    return replace(_requested(request.vendor, options), unusable=request.unusable)


def _publisher(item: str | Vendor) -> str | None:
    """The package that offers a vendor which was asked for by name."""
    entry = _entries().get(item) if isinstance(item, str) else None
    return entry.dist.name if entry is not None and entry.dist else None


def _requested(vendor: Vendor, options: Any) -> Requested:
    """The vendor with the patterns that its options leave in force."""
    offered = check_patterns(vendor)
    try:
        chosen = tuple(vendor.choose(options, offered))
    except Exception as error:
        raise VendorError(
            f"vendor author: choose() of {vendor.name!r} raised {type(error).__name__}: {error}; "
            f"it returns those of the patterns that apply under these options"
        ) from error
    if not {id(pattern) for pattern in chosen} <= {id(pattern) for pattern in offered}:
        raise VendorError(
            f"vendor author: choose() of {vendor.name!r} must return some of the patterns that it "
            f"was given, found {chosen!r:.80}"
        )
    if len(chosen) < len(offered):
        vendor = replace(vendor, patterns=lambda: chosen)
    return Requested(vendor, options, chosen)
