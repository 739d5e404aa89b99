"""From a model file to a normalised `IRModule`."""

from byoc.frontends.model import Model, import_model
from byoc.frontends.relay import read_relay

__all__ = ["Model", "import_model", "read_relay"]
