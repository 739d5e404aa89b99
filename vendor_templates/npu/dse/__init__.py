"""The accelerators that this vendor could be, for `byoc.dse`.

::

    segments ──lower──▶ int8 graphs ──┬─ roofline       bounds, microseconds
                                      ├─ planned        cuts and addresses, with the cost model
                                      └─ cycles         emitted, in the simulator's cycle model
                                              └─ critical_path ─▶ bottlenecks ─▶ knobs
    a machine ──area──▶ LUTs, DSP blocks, block RAMs
"""

from byoc.vendor_templates.npu.dse.space import NpuDesign, design

__all__ = ["NpuDesign", "design"]
