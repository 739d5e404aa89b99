"""PyTorch programs: file.py and exported.py (to ATen), walk.py (to Relax), ops/ (converters)."""

from typing import Any

from byoc.frontends.frontend import Frontend, is_instance, path_of
from byoc.frontends.model import Model
from byoc.frontends.torch.file import SUFFIXES, is_pt2, load_pt2

__all__ = ["FRONTEND"]


def _accepts(source: Any) -> bool:
    path = path_of(source)
    return is_instance(source, "torch.export", "ExportedProgram") if path is None else is_pt2(path)


def _read(source: Any, params: None) -> Model:
    path = path_of(source)
    program = source if path is None else load_pt2(path)
    from byoc.frontends.torch.exported import import_exported

    return import_exported(program)


FRONTEND = Frontend("torch", _accepts, _read, suffixes=SUFFIXES, extra="torch")
