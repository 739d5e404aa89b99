"""The `.byoc` file: written, verified, signed, fitted to the machine, mapped."""

__all__ = [
    "archive",
    "checking",
    "cpu",
    "fitting",
    "loading",
    "manifest",
    "mapped_memory",
    "saving",
    "signing",
    "weights",
]
