"""The instruction set: one table (``isa.json``), and what reads and writes instructions by it.

::

    isa.json ──▶ instructions.py   instructions as values, bytes and text
            └──▶ generate.py       the simulator's C++ header and the tables of docs/npu.md
"""

from byoc.vendor_templates.npu.isa.instructions import (
    NpuInstruction,
    assemble,
    decode,
    disassemble,
    encode,
)

__all__ = ["NpuInstruction", "assemble", "decode", "disassemble", "encode"]
