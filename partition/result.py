"""What partitioning gives back: the rewritten module, the segments, and the report.

`pipeline` makes it and `explaining.whatif` starts from it; it stands on its own, so that neither
needs the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import tvm

from byoc.partition.placing.context import PlacedFunction
from byoc.report.partition_report import PartitionReport
from byoc.segment import Segment

__all__ = ["PartitionResult"]


@dataclass(frozen=True)
class PartitionResult:
    """The result of `partition_module`.

    Attributes:
        mod: the module with one private function per segment, each marked with the attribute
            Codegen = its vendor's name.
        segments: what vendors compile, in the order they are named, topological in a function.
        report: where every op went, and why.
        placed: the functions as they were placed, which `byoc.partition.what_if` starts from.
    """

    mod: tvm.IRModule
    segments: tuple[Segment, ...]
    report: PartitionReport
    placed: tuple[PlacedFunction, ...] = field(default=(), repr=False, compare=False)
