"""From a model file to a normalised `IRModule`."""

from byoc.frontends.formats import FRONTENDS, format_of, import_model
from byoc.frontends.frontend import Frontend
from byoc.frontends.model import Model
from byoc.frontends.onnx import import_overridden
from byoc.frontends.relay.file import read_relay

__all__ = [
    "FRONTENDS",
    "Frontend",
    "Model",
    "format_of",
    "import_model",
    "import_overridden",
    "read_relay",
]
