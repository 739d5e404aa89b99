"""Fixtures of these tests: small ONNX graphs."""

from graph_tools import rng, tools

__all__ = ["rng", "tools"]
