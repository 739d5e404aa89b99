"""Small programs written by hand, for tests of the machine itself."""

from byoc.vendor_templates.npu.isa.instructions import OPS, NpuInstruction

LOAD, COMPUTE, VECTOR, STORE = 1, 2, 4, 8


def ins(op, wait=0, signal=0, **fields):
    """An instruction with every field, those not given at 0 (or 1 where 0 is not legal)."""
    defaults = {name: max(f.low, 0) for name, f in OPS[op].fields.items()}
    return NpuInstruction(op, {**defaults, **fields}, wait, signal)


def gemm(m, k, n, **fields):
    return ins("conv", in_w=m, x_row=m * k, x_pix=k, channels=k, out_w=m, n=n, k_count=k, **fields)


HALT = NpuInstruction("halt")
