"""Vendors in a process of their own, where they can take nothing else down."""

__all__ = ["processes", "worker"]
