"""Help for vendor authors: patterns, ops of byoc's own, segments as ONNX models."""

__all__ = ["foreign_op", "onnx_export", "own_ops", "patterns", "recurrent"]
