"""The accelerator itself: its configuration, the program it is given, and its simulator.

::

    npu.yaml ──▶ config ──▶ NpuConfig ──┐
    compiled segment ──▶ program ───────┴──▶ simulator: legal? what does it compute? how long?
"""

from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config
from byoc.vendor_templates.npu.machine.program import NpuProgram, decode_program, encode_program
from byoc.vendor_templates.npu.machine.simulator import Counters

__all__ = [
    "Counters",
    "NpuConfig",
    "NpuProgram",
    "decode_program",
    "encode_program",
    "load_config",
]
