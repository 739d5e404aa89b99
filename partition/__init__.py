"""Partitioning: which backend (a vendor or the host) runs which op, and why.

In: a Relax module and vendors. Out: the module with one function per segment, the segments as
vendors receive them, and a report. One folder per pass, in this order:

    IRModule ─ snapshot ─ matching ─ placing ─ grouping ─ outlining ─ explaining ─▶ PartitionResult

`pipeline.py` runs them. No vendor's name stands in here, and no code is generated. Cost grows
linearly with the number of ops.
"""

from byoc.partition.explaining.pattern_use import PatternUse, pattern_use
from byoc.partition.explaining.whatif import what_if
from byoc.partition.outlining.bridge import segment_from_function
from byoc.partition.pipeline import partition_module
from byoc.partition.placing.policy import Policy, Rule
from byoc.partition.result import PartitionResult
from byoc.report.partition_report import PartitionReport
from byoc.report.records import (
    HOST,
    BorderRecord,
    Counterfactual,
    Coverage,
    OpRecord,
    PlanRecord,
    ReasonCount,
    Refusal,
    SegmentRecord,
    SplitRecord,
    Verdict,
)

__all__ = [
    "HOST",
    "BorderRecord",
    "Counterfactual",
    "Coverage",
    "OpRecord",
    "PartitionReport",
    "PartitionResult",
    "PatternUse",
    "PlanRecord",
    "Policy",
    "ReasonCount",
    "Refusal",
    "Rule",
    "SegmentRecord",
    "SplitRecord",
    "Verdict",
    "partition_module",
    "pattern_use",
    "segment_from_function",
    "what_if",
]
