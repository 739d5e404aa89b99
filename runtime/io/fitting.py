"""Whether a file's code can run on this machine: versions and CPU, told by its manifest."""

from __future__ import annotations

import os

from byoc.errors import ArtifactError
from byoc.runtime.io.cpu import cpu_features
from byoc.runtime.io.manifest import Manifest, installed
from byoc.runtime.program import Target

__all__ = ["check_cpu", "check_machine", "check_tvm", "check_tvm_ffi"]


def check_machine(manifest: Manifest) -> None:
    """Versions and CPU, before anything costly."""
    if manifest.body == "vm":
        check_tvm(manifest)
    if manifest.has_host:
        check_tvm_ffi(manifest)
        for target in (manifest.target, *(entry.target for entry in manifest.shapes)):
            if target is not None:
                check_cpu(target)


def check_tvm(manifest: Manifest) -> None:
    """Raises ArtifactError unless the TVM that runs the file's VM bytecode is installed."""
    have = installed("apache-tvm")
    if not have:
        raise ArtifactError(
            f"the model runs on TVM's VM: install apache-tvm=={manifest.tvm or '0.27.*'}"
        )
    if _minor(have) != _minor(manifest.tvm):
        raise ArtifactError(
            f"the VM bytecode was compiled by apache-tvm {manifest.tvm}, {have} is installed; "
            f"compile the model again, or install apache-tvm=={_minor(manifest.tvm)}.*"
        )


def check_tvm_ffi(manifest: Manifest) -> None:
    """Raises ArtifactError when the host library needs another tvm-ffi."""
    have = installed("apache-tvm-ffi")
    if _minor(have) != _minor(manifest.tvm_ffi):
        raise ArtifactError(
            f"the host library was compiled against apache-tvm-ffi {manifest.tvm_ffi}, {have} is "
            f"installed; compile the model again, or install "
            f"apache-tvm-ffi=={_minor(manifest.tvm_ffi)}.*"
        )


def check_cpu(target: Target) -> None:
    """Raises ArtifactError when this CPU lacks something the host library uses."""
    machine, wanted = os.uname().machine, target.triple.split("-")[0]
    if wanted and wanted != machine:
        raise ArtifactError(f"the file was compiled for {wanted} ({target.cpu}), this is {machine}")
    have = cpu_features()
    missing = sorted(set(target.features) - have) if have is not None else []
    if missing:
        raise ArtifactError(
            f"the host library was compiled for CPU {target.cpu!r} and needs features that this "
            f"CPU lacks: {', '.join(missing)}; compile the model on this machine"
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
