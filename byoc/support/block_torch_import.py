"""TVM without PyTorch, in processes that are byoc's own.

tvm-ffi and TVM import torch wherever it is installed, to exchange tensors with it: more than two
seconds and 300 MB, for models that have nothing to do with torch. The command line, the processes
that build engines and those that vendors run in leave it out:

    tvm_ffi ── import torch ──▶ refused, as if it were not installed
    anybody else ── import torch ──▶ as ever, now or later

A program that imports byoc is not ours: there, torch is left as TVM wants it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import FrameType

__all__ = ["leave_torch_out"]

# They import torch for the case that somebody will use it, and can do without.
_CASUAL = ("tvm_ffi", "tvm.relax.base_py_module")


class _NoCasualTorch(MetaPathFinder):
    """Finds nothing, and refuses torch to the modules above: asked by whose frame imports."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> None:
        if fullname == "torch" and _importer(sys._getframe(1)).startswith(_CASUAL):
            raise ModuleNotFoundError(f"byoc leaves {fullname} out of TVM here", name=fullname)


def _importer(frame: FrameType | None) -> str:
    """The module whose import statement this is: the first frame that is not the import system."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("importlib"):
            return module
        frame = frame.f_back
    return ""


def leave_torch_out() -> None:
    """Keep TVM from importing torch in this process, unless it has been imported already.

    What is lost: `tvm_ffi.convert` of a `torch.dtype`, and `tvm_ffi.use_torch_stream`.
    """
    if not any(isinstance(finder, _NoCasualTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoCasualTorch())
