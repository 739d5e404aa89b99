"""Decide how each operation is cut and where every tensor lies, before anything is emitted.

::

    Graph ──▶ memory_layout ──asks──▶ conv_tiling, pool_tiling ──ask──▶ cycle_model
                   │
                   ▼
              MemoryLayout: addresses, and a `WindowPlan` (plans) for each operation
"""

from byoc.vendor_templates.npu.planning.memory_layout import MemoryLayout, lay_out_memory
from byoc.vendor_templates.npu.planning.plans import Settings, WindowPlan

__all__ = ["MemoryLayout", "Settings", "WindowPlan", "lay_out_memory"]
