"""Our own converters of ONNX operators, by family; they come before TVM's."""
