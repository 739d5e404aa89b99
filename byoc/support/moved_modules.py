"""Old names of modules: importing one gives the module of the new name and a DeprecationWarning.

In: the name of a module that has moved. Out: the module as it is now, under that name too:
``from byoc.patterns import any_call`` keeps working until 1.0. Runs at every ``import byoc``, so it
imports next to nothing itself (`importlib.abc` alone would cost more than the rest of the package).
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # as in byoc/__init__.py
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["MOVED", "install"]

MOVED = {
    "byoc.background": "byoc.build.readiness",
    "byoc.building": "byoc.build.program",
    "byoc.diff": "byoc.placement.lock_diff",
    "byoc.discovery": "byoc.plugins.discovery",
    "byoc.faulty": "byoc.testing.fault_injection",
    "byoc.interchange": "byoc.kit.onnx_export",
    "byoc.lean": "byoc.support.block_torch_import",
    "byoc.lock": "byoc.placement.lock",
    "byoc.measure.store": "byoc.timing.store",
    "byoc.onnx_backend": "byoc.integrations.onnx_backend",
    "byoc.opaque": "byoc.kit.foreign_op",
    "byoc.partition.identity": "byoc.partition.snapshot.identity",
    "byoc.partition.place": "byoc.partition.placing",
    "byoc.partition.policy": "byoc.partition.placing.policy",
    "byoc.partition.report": "byoc.report.records",
    "byoc.patterns": "byoc.kit.patterns",
    "byoc.policy_file": "byoc.placement.policy_file",
    "byoc.runtime.archive": "byoc.runtime.io.archive",
    "byoc.runtime.boxes": "byoc.runtime.value_handles",
    "byoc.runtime.checking": "byoc.runtime.io.checking",
    "byoc.runtime.manifest": "byoc.runtime.io.manifest",
    "byoc.runtime.profile": "byoc.report.profile",
    "byoc.runtime.requests": "byoc.runtime.request_queue",
    "byoc.runtime.saving": "byoc.runtime.io.saving",
    "byoc.stock": "byoc.integrations.stock",
    "byoc.synthetic": "byoc.testing.fake_vendors",
    "byoc.torch_backend": "byoc.integrations.torch_compile",
    "byoc.vendor_templates.npu.config": "byoc.vendor_templates.npu.machine.config",
}
"""Old name → new name, of modules that docs or scripts have named. Remove them with 1.0."""


class _Redirect:
    """The loader of an old name: imports the new module and puts it where the old one was."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of the new name."""
        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} has moved: import {new} instead", DeprecationWarning, stacklevel=2
        )
        module = import_module(new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back: it has been executed already, under its new name."""
        module.__spec__ = self._spec


class _Finder:
    """Knows the old names, and nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how to import an old name; None for every other one."""
        return ModuleSpec(fullname, _Redirect()) if fullname in MOVED else None  # type: ignore[arg-type]


def install() -> None:
    """Let old names be imported. Called once, by ``import byoc``."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
