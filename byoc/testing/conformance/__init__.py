"""A sweep of what a vendor claims: every op, dtype and form at the edges of its numbers.

In: a vendor. Out: findings, see `sweep`. ``python -m byoc.testing.conformance NAME`` prints them.
"""

from __future__ import annotations

from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.sweep import ClaimOutcome, all_cases, as_json, sweep

__all__ = ["Claim", "ClaimOutcome", "all_cases", "as_json", "sweep"]
