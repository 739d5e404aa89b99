"""ONNX Runtime's own operators: what its quantiser and its optimiser write."""

__all__ = [
    "attention",
    "blocks",
    "fused",
    "grouped_attention",
    "qoperator",
    "rotary",
    "scales",
    "signature",
]
