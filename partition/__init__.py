"""Who runs what: patterns matched, neighbours grouped, segments outlined, every choice reported.

    IRModule ─ snapshot ─ match ─ group ─ prune ─ outline ─ report ─▶ PartitionResult
               graph.py  match.py group.py prune.py outline.py report.py

No vendor names here, no code generation. Cost grows linearly with the number of ops.
"""

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
    "PlanRecord",
    "Policy",
    "ReasonCount",
    "Refusal",
    "Rule",
    "SegmentRecord",
    "SplitRecord",
    "Verdict",
    "partition_module",
    "segment_from_function",
    "what_if",
]
