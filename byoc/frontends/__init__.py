"""From a model file to a normalised `IRModule`."""

from byoc.frontends.model import Model, import_model

__all__ = ["Model", "import_model"]
