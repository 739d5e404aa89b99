"""Measuring time on this machine: probes, interleaved comparison, and the store of results."""

__all__ = ["budget", "interleaved", "keys", "probes", "progress", "store", "tournament"]
