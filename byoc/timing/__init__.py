"""Measuring time on this machine: probes, interleaved comparison, and the store of results."""

__all__ = ["budget", "keys", "probes", "progress", "store", "tournament"]
