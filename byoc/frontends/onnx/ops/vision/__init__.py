"""Operators of detection and segmentation: boxes, taps that move, the places of maxima."""

__all__ = ["boxes", "deformed", "unpooling"]
