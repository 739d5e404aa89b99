"""Imports a file of source by its path, with other content for some files."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["imported_file"]


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, files: Mapping[Path, str]) -> None:
        self._files = {path.resolve(): text for path, text in files.items()}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            return None
        file = Path(spec.origin).resolve() if spec.has_location else None
        if file is None or file not in self._files:
            return None
        loader = _Loader(name, str(file), self._files[file])
        return importlib.util.spec_from_file_location(name, file, loader=loader)


def imported_file(path: Path, files: Mapping[Path, str]) -> ModuleType:
    """Return a file as a module of its package, imported anew.

    Args:
        path: The file.
        files: Path → what to read instead of what it holds.
    """
    folder, parts = path.resolve().parent, [path.stem]
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    name = ".".join(parts)
    mine = {p.resolve() for p in files} | {path.resolve()}
    for known, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve() in mine:
            del sys.modules[known]
    finder = _Finder(files)
    sys.meta_path.insert(0, finder)
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)
