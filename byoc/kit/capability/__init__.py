"""What a vendor takes, said as data: patterns, checks, the op table and tests come from it.

    CLAIMS = [Capability(op="matmul", inputs=[Operand(), Operand(rank=2, constant=True)],
                         tail="bias? nn.relu?")]
    VENDOR = Vendor(..., patterns=PatternsOf(CLAIMS))

The same in YAML is read by `load_capabilities`. Patterns written by hand may stand beside:
``PatternsOf(CLAIMS, beside=patterns)``.
"""

from byoc.kit.capability.check import bias_axis
from byoc.kit.capability.claims import (
    ANY,
    Capability,
    Operand,
    Range,
    TailStep,
    load_capabilities,
)
from byoc.kit.capability.patterns_of import PatternsOf, capabilities_of, fused_patterns
from byoc.kit.capability.table import op_table

__all__ = [
    "ANY",
    "Capability",
    "Operand",
    "PatternsOf",
    "Range",
    "TailStep",
    "bias_axis",
    "capabilities_of",
    "fused_patterns",
    "load_capabilities",
    "op_table",
]
