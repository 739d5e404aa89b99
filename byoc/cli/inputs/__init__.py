"""Inputs of a model on the command line: which files there are, and what they hold."""

from byoc.cli.inputs.files import Inputs, Reader, given_inputs, inputs_for, is_artifact, read_inputs

__all__ = ["Inputs", "Reader", "given_inputs", "inputs_for", "is_artifact", "read_inputs"]
