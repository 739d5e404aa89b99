"""Our own converters of ONNX operators, by family; they come before TVM's."""

__all__ = [
    "casts",
    "constants",
    "contrib",
    "data_movement",
    "elementwise",
    "features",
    "helpers",
    "norms",
    "numeric",
    "products",
    "quantised",
    "recurrent",
    "resizing",
    "sampling",
    "spectral",
    "split",
    "table",
    "vision",
    "windows",
]
