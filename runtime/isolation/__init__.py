"""Vendors in a process of their own, where they can take nothing else down.

`processes` is the side of the program that starts them, `worker` is what runs in them.
"""

__all__ = ["processes", "worker"]
