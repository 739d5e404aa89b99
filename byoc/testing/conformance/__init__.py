"""Whether a vendor does what it claims: `conformance`, as ``byoc conformance NAME`` runs it.

    suite      what the vendor takes of all cases, cut into tasks
      sweep      every op and dtype at the edges of its numbers (`all_cases`)
      layers     ops with weights and what may follow; `boundaries`: the ends of its capabilities
      traps      small models that some vendor has got wrong
      modes      threads, processes, files, C; `options`
    harness    child processes that do the tasks
    verdict    bronze, silver, gold, and what is missing; table, JSON, JUnit

``python -m byoc.testing.conformance NAME`` is the sweep alone.
"""

from __future__ import annotations

from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.harness import conformance
from byoc.testing.conformance.sweep import ClaimOutcome, all_cases, as_json, sweep
from byoc.testing.conformance.verdict import LEVELS, ConformanceReport

__all__ = [
    "LEVELS",
    "Claim",
    "ClaimOutcome",
    "ConformanceReport",
    "all_cases",
    "as_json",
    "conformance",
    "sweep",
]
