"""The `.byoc` file: written here, read by way of the C++ in runtime/src/artifact."""

__all__ = [
    "archive",
    "artifact_file",
    "checking",
    "cpu",
    "loading",
    "manifest",
    "mapped_memory",
    "saving",
    "signing",
    "weights",
]
