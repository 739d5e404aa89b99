"""byoc inside other tools: TVM's own passes, `torch.compile`, the ONNX backend API."""

__all__ = ["onnx_backend", "stock", "torch_compile"]
