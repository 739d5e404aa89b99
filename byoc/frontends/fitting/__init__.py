"""Shapes that must fit are checked when the model runs: `builder` asks, `rules` know the ops."""

from byoc.frontends.fitting.builder import FittingBuilder

__all__ = ["FittingBuilder"]
