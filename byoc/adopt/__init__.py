"""Changes to a model's source so that more of it offloads: found, written, and tried.

    rules of vendors (`Vendor.rewrites`) ──pattern──▶ values ╮
    source ──source, reading, statements──▶ values ──────────┴unify──▶ matches
    matches ──synthesis──▶ findings with edits ──trial──▶ those that hold ──edits──▶ source

Neither TVM nor torch is imported, and no code of a model runs here: `trial` has both versions
compared in a process of their own.
"""

from __future__ import annotations

from byoc.adopt.analysis import analyse, changed, compatible
from byoc.adopt.finding import Reason, SourceFinding

__all__ = ["Reason", "SourceFinding", "analyse", "changed", "compatible"]
