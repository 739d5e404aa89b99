"""Placement by measurement: build, time, keep, choose; see `placement.py` for the way of it.

    store ◀─ segment_timing ◀─ cost_model (what the search asks) ◀─ placement ─▶ tournament
          ◀─ kernels (host)

In: an imported model, vendors and constraints. Out: a program and its report; what becomes of them
is not known here. Importing this imports neither TVM nor a vendor.
"""

from byoc.timing.budget import Budget, parse_budget
from byoc.timing.store import Store, Timed, cache_folder

__all__ = ["Budget", "Store", "Timed", "cache_folder", "parse_budget"]
