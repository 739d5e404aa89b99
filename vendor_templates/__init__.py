"""Vendors that ship with byoc. Each folder is a complete vendor and an example to copy."""

__all__ = ["dnnl", "npu", "onnxruntime", "openvino", "torch"]
