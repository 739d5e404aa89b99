"""Placement by measurement: build, time, keep, choose; see `placement.py` for the way of it.

    keys ─▶ store ◀─ workshop (segments) ◀─ figures (what the search asks) ◀─ placement ─▶ race
                  ◀─ kernels (host)

Importing this imports neither TVM nor a vendor.
"""

from byoc.timing.budget import Budget, parse_budget
from byoc.timing.store import Store, Timed, cache_folder

__all__ = ["Budget", "Store", "Timed", "cache_folder", "parse_budget"]
