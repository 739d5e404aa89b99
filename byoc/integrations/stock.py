"""Every vendor for users of TVM's own passes: ``relax.ext.<vendor>`` and its patterns.

::

    patterns = byoc.integrations.stock.fusion_patterns("dnnl")
    mod = relax.transform.FuseOpsByPattern(patterns, bind_constants=True)(mod)
    mod = relax.transform.MergeCompositeFunctions()(mod)
    mod = relax.transform.RunCodegen()(mod)              # calls relax.ext.dnnl
    tvm.compile(mod, target).export_library("model.so")  # segments travel inside

Installing byoc is all it takes: TVM calls `autoload` (entry point ``tvm.backends``) when it is
imported, in the process that compiles and in the one that loads the exported library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import tvm_ffi

from byoc.contract_checks import check_patterns, check_vendor
from byoc.plugins.discovery import GROUP, Requested, find
from byoc.plugins.vendor_options import validate_options
from byoc.runtime.native import as_tensor
from byoc.runtime.native import function as runtime_function
from byoc.runtime.program import PortCounts, VendorUse
from byoc.runtime.vendor_runtimes import bind, load_native
from byoc.segment import Artifact
from byoc.vendor import NativeRuntime, Pattern, Vendor

__all__ = ["autoload", "fusion_patterns", "register"]


def autoload() -> None:
    """Register every installed vendor with TVM; no vendor is imported before it is used."""
    runtime_function("SegmentModule")  # loads our library: it reads exported segments
    tvm_ffi.register_global_func("byoc.load_vendor", _load_vendor, override=True)
    for entry in entry_points(group=GROUP):
        _register_name(entry.name, partial(find, entry.name))


def register(vendor: Vendor) -> None:
    """Register a vendor that no installed package publishes; an installed one needs no call.

    Args:
        vendor: the vendor.

    Raises:
        VendorError: it does not keep the contract.
    """
    check_vendor(vendor)
    autoload()
    _register_name(vendor.name, lambda: vendor)
    _serve(vendor)


def fusion_patterns(vendor: str | Vendor) -> list[Any]:
    """Offer a vendor's patterns to TVM's own passes.

    Stock passes take a pattern or leave it, reasons are lost: `byoc.partition_model` keeps them.

    Args:
        vendor: an installed vendor's name, or a value.

    Returns:
        `relax.transform.FusionPattern` values, highest priority first.

    Raises:
        VendorError: the vendor is unknown, or does not keep the contract.
    """
    from tvm.relax.transform import FusionPattern

    from byoc.partition.matching.match import ask_check
    from byoc.partition.matching.stock_context import match_bindings

    value = find(vendor) if isinstance(vendor, str) else check_vendor(vendor)

    def check(pattern: Pattern, context: Any) -> bool:
        match = match_bindings(context.matched_bindings, pattern, value.name)
        return match is not None and ask_check(value.name, pattern, match) is None

    return [
        FusionPattern(
            f"{value.name}.{pattern.name}",
            pattern.expr,
            dict(pattern.parts),
            partial(check, pattern),
        )
        for pattern in check_patterns(value)
    ]


def _register_name(name: str, get: Any) -> None:
    codegen = partial(_codegen, get)
    tvm_ffi.register_global_func(f"relax.ext.{name}", codegen, override=True)


def _codegen(get: Any, functions: Any, options: Mapping[str, Any], names: Any) -> list[Any]:
    """What `RunCodegen` calls with all functions of one vendor; returns a module for each."""
    from byoc.build.kernels import compile_apart
    from byoc.partition import segment_from_function

    vendor: Vendor = get()
    checked = validate_options(vendor, {str(k): _plain(v) for k, v in (options or {}).items()})
    modules = []
    for function in functions:
        symbol = str(function.attrs["global_symbol"])
        segment = segment_from_function(function, vendor, symbol)
        artifact = compile_apart(segment, [Requested(vendor, checked, ())])
        settings = checked.model_dump(mode="json")
        if not isinstance(vendor.runtime, NativeRuntime):
            settings = {"outputs": len(segment.outputs), "options": settings}
        modules.append(
            runtime_function("SegmentModule")(
                symbol,
                vendor.name,
                artifact.blob,
                [as_tensor(constant) for constant in artifact.constants],
                json.dumps(settings),
            )
        )
    return modules


def _plain(value: Any) -> Any:
    """A codegen option without TVM's wrappers."""
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


def _load_vendor(name: str) -> None:
    """Called by a segment whose vendor's runtime is not there yet."""
    _serve(find(str(name)))


def _serve(vendor: Vendor) -> None:
    """Make ``byoc.vendor.<name>.init`` exist."""
    if isinstance(vendor.runtime, NativeRuntime):
        load_native(vendor.name, vendor.runtime)
        return

    def init(blob: Any, constants: Any, options: str) -> Any:
        settings = json.loads(options)
        arrays = tuple(np.from_dlpack(constant) for constant in constants)
        artifact = Artifact("exported", vendor.name, bytes(blob), arrays)
        use = VendorUse(vendor.version, settings["options"], vendor.runtime)
        return bind(artifact, use, PortCounts(None, settings["outputs"]))

    tvm_ffi.register_global_func(f"byoc.vendor.{vendor.name}.init", init, override=True)
