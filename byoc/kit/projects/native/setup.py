"""Compiles acme.cc into the package; `shared_library` takes further flags, for an SDK."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

from byoc.kit.compiler import shared_library


class Build(build_py):
    """Python files, and the library beside them."""

    def run(self) -> None:
        """Do both."""
        super().run()
        folder = Path("byoc_acme" if self.editable_mode else f"{self.build_lib}/byoc_acme")
        shared_library(["byoc_acme/acme.cc"], folder / "lib" / "libbyoc_acme.so")


class Binary(Distribution):
    """A wheel for this platform."""

    def has_ext_modules(self) -> bool:
        """It holds machine code."""
        return True


setup(cmdclass={"build_py": Build}, distclass=Binary)
