"""What no vendor takes: fused, scheduled and compiled by TVM as one library of kernels."""

from __future__ import annotations

from byoc.host.given import Given
from byoc.host.library import HostLibrary, build
from byoc.host.lower import Lowered, lower, needs_vm
from byoc.host.scratch import scratch_bytes
from byoc.host.vm import build_vm, check_vm
from byoc.tir.features import kernel_features

__all__ = [
    "Given",
    "HostLibrary",
    "Lowered",
    "build",
    "build_vm",
    "check_vm",
    "kernel_features",
    "lower",
    "needs_vm",
    "scratch_bytes",
]
