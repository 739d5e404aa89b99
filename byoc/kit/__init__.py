"""Help for vendor authors: capabilities, patterns, ops of byoc's own, segments as ONNX models."""

__all__ = ["capability", "foreign_op", "onnx_export", "own_ops", "patterns", "recurrent"]
