"""Inputs of a model on the command line: which files there are, and what they hold."""

from byoc.cli.inputs.files import Inputs, Reader, given_inputs, inputs_for, read_inputs
from byoc.cli.inputs.model_file import is_artifact, open_model, refuse_options

__all__ = [
    "Inputs",
    "Reader",
    "given_inputs",
    "inputs_for",
    "is_artifact",
    "open_model",
    "read_inputs",
    "refuse_options",
]
