"""Help for vendor authors: patterns, ONNX nodes kept whole, segments as ONNX models."""

__all__ = ["foreign_op", "onnx_export", "patterns"]
