"""TVM without PyTorch, until somebody wants PyTorch.

tvm-ffi and TVM import torch wherever it is installed, to exchange tensors with it: more than two
seconds and 180 MB, for models that have nothing to do with torch. After ``import byoc`` they do
without it, and are told of it when a program imports it::

    tvm_ffi ── import torch ──▶ refused, as if it were not installed
    anybody else ── import torch ──▶ as ever, now or later; then `_tell_tvm`

A program that has imported torch before byoc sees no difference. Runs at every ``import byoc``, so
it imports next to nothing itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in byoc/__init__.py
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

__all__ = ["leave_torch_out"]

# They import torch for the case that somebody will use it, and can do without.
_CASUAL = ("tvm_ffi", "tvm.relax.base_py_module")


class _LateTorch:
    """Refuses torch to the modules above; for others it finds it as the finders after it do."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        if _importer(sys._getframe(1)).startswith(_CASUAL):
            raise ModuleNotFoundError(f"byoc leaves {fullname} out of TVM here", name=fullname)
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _tell_after(spec)
        return spec


def _importer(frame: FrameType | None) -> str:
    """The module whose import statement this is: the first frame that is not the import system."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("importlib"):
            return module
        frame = frame.f_back
    return ""


def _tell_after(spec: ModuleSpec) -> None:
    """Let the loader, which stays what it is, end with `_tell_tvm`."""
    loader = spec.loader
    execute = loader.exec_module  # type: ignore[union-attr]

    def execute_and_tell(module: ModuleType) -> None:
        execute(module)
        try:
            _tell_tvm(module)
        except (AttributeError, ImportError, TypeError):
            return  # another tvm-ffi than we know: it does without torch, whose import goes well

    loader.exec_module = execute_and_tell  # type: ignore[union-attr, method-assign]


def _tell_tvm(torch: ModuleType) -> None:
    """Give the modules that were refused torch what they would have taken of it.

    Tensors need nothing of this. What stays lost is a `torch.dtype` that is passed to a function of
    TVM as it is: its table is compiled into tvm-ffi.
    """
    core = sys.modules.get("tvm_ffi.core")
    if core is None or core.torch is not None:
        return
    import importlib

    import tvm_ffi

    def to_dtype(dtype: object) -> tvm_ffi.dtype:
        return tvm_ffi.dtype(str(dtype).removeprefix("torch.").replace("fn_x2", "fnx2"))

    core.torch = torch  # type: ignore[attr-defined]
    core._convert_torch_dtype_to_ffi_dtype = to_dtype  # type: ignore[attr-defined]
    tvm_ffi._convert.torch = torch
    stream = importlib.reload(sys.modules["tvm_ffi.stream"])
    tvm_ffi.use_torch_stream = stream.use_torch_stream
    if (base := sys.modules.get("tvm.relax.base_py_module")) is not None:
        base.to_dlpack_legacy = torch.utils.dlpack.to_dlpack  # type: ignore[attr-defined]


def leave_torch_out() -> None:
    """Keep TVM from importing torch in this process, unless it has been imported already.

    Called once, by ``import byoc``.
    """
    if not any(isinstance(finder, _LateTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LateTorch())
