"""Instructions as bytes and text, and the validator."""

import re

import numpy as np
import pytest
from npu_programs import COMPUTE, HALT, LOAD, VECTOR, gemm, ins

from byoc.errors import ModelError
from byoc.vendor_templates.npu.isa.instructions import (
    INSTRUCTION_BYTES,
    OPS,
    NpuInstruction,
    assemble,
    decode,
    disassemble,
    encode,
)
from byoc.vendor_templates.npu.lowering.numerics import float_bits
from byoc.vendor_templates.npu.machine.config import load_config
from byoc.vendor_templates.npu.machine.simulator import validate_code

CONFIG = load_config()


def random_instruction(rng):
    op = list(OPS.values())[rng.integers(len(OPS))]
    fields = {}
    for name, f in op.fields.items():
        value = int(rng.choice([f.low, f.high, rng.integers(f.low, f.high, endpoint=True)]))
        if f.real:
            value = float_bits(float(rng.choice([0.0, -0.0, 3e38, -1e-45, rng.normal()])))
        fields[name] = value
    return NpuInstruction(op.name, fields, int(rng.integers(16)), int(rng.integers(16)))


def test_bytes_and_text_come_back():
    rng = np.random.default_rng(0)
    stream = [random_instruction(rng) for _ in range(2000)]
    assert decode(encode(stream)) == stream
    assert assemble(disassemble(stream)) == stream


def test_fields_do_not_overlap():
    for op in OPS.values():
        bits = [(f.word, b) for f in op.fields.values() for b in range(f.bit, f.bit + f.width)]
        assert len(bits) == len(set(bits)), op.name
        assert all(b < 32 and (w > 0 or b >= 16) and w < 16 for w, b in bits), op.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("load spm=0\nconvv x=1", "line 2: no instruction 'convv'; did you mean 'conv'?"),
        ("conv xx=1", "line 1 (conv): no field 'xx'"),
        ("conv x=a", "line 1 (conv): x needs a number, found 'a'"),
        ("add m1=x", "line 1 (add): m1 needs a number, found 'x'"),
        ("halt wait=loader", "line 1: no unit 'loader'; did you mean 'load'?"),
    ],
)
def test_assembler_names_the_line(text, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        assemble(text)


def test_encode_names_instruction_and_range():
    with pytest.raises(ModelError, match=r"instruction 1 \(conv\): kh is 256, legal: 1\.\.255"):
        encode([HALT, gemm(1, 1, 1, kh=256)])
    with pytest.raises(ModelError, match="no field 'foo'"):
        encode([NpuInstruction("halt", {"foo": 1})])


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000])
def test_scales_are_finite(bits):
    with pytest.raises(ModelError, match=r"instruction 0 \(add\): m1 is not a finite number"):
        encode([ins("add", m1=bits), HALT])
    code = bytearray(encode([ins("add"), HALT]))
    code[40:44] = bits.to_bytes(4, "little")
    with pytest.raises(ModelError, match=r"instruction 0 \(add\): m1 is not a finite number"):
        decode(bytes(code))
    with pytest.raises(ModelError, match="instruction 0: add: m1 is not a finite number"):
        validate_code(CONFIG, bytes(code), 0, 0)


def test_decode_rejects():
    with pytest.raises(ModelError, match="truncated"):
        decode(b"\0" * 63)
    with pytest.raises(ModelError, match="instruction 1: unknown opcode 200"):
        decode(encode([HALT]) + bytes([200]) + bytes(63))
    with pytest.raises(ModelError, match=r"instruction 0 \(halt\): reserved bits are set"):
        decode(bytes(60) + b"\1\0\0\0")
    with pytest.raises(ModelError, match=r"instruction 0 \(load\): bytes is 0, legal: 1"):
        decode(bytes([OPS["load"].opcode]) + bytes(63))


def reject(*stream, constants=1000, work=1000):
    with pytest.raises(ModelError) as error:
        validate_code(CONFIG, encode(stream), constants, work)
    return str(error.value)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ([], "instruction 0: the last instruction is not halt"),
        ([ins("fence")], "instruction 0: the last instruction is not halt"),
        ([HALT, HALT], "instruction 0: halt: halt before the end"),
        (
            [ins("load", bytes=1001), HALT],
            "instruction 0: load: dram ends at 1001, past the constants (1000)",
        ),
        (
            [ins("fence"), ins("load", region=1, dram=999, bytes=2), HALT],
            "instruction 1: load: dram ends at 1001, past the work memory (1000)",
        ),
        (
            [ins("store", spm=196608), HALT],
            "instruction 0: store: spm ends at 196609, past the activation scratchpad (196608)",
        ),
        (
            [gemm(200, 100, 100), HALT],
            "instruction 0: conv: acc ends at 20000, past the accumulators (16384)",
        ),
        (
            [gemm(1, 2000, 100), HALT],
            "instruction 0: conv: w ends at 224000, past the weight scratchpad (65536)",
        ),
        (
            [gemm(1, 8, 1, k_begin=1), HALT],
            "instruction 0: conv: k ends at 9, past kh * kw * channels = 8",
        ),
        (
            [ins("requant", params=2), HALT],
            "instruction 0: requant: params 2 is no multiple of 4",
        ),
        (
            [ins("load", wait=COMPUTE), HALT],
            "instruction 0: load: waits for a token of unit 1 that none gave before",
        ),
        ([ins("load", wait=LOAD), HALT], "instruction 0: load: a token to itself"),
        (
            [ins("load", signal=VECTOR), HALT],
            "instruction 1: halt: tokens are left that no instruction takes",
        ),
        ([ins("fence", signal=VECTOR), HALT], "instruction 0: fence: halt and fence take no"),
        (
            [ins("maxpool", out_h=65535, out_w=65535, n=65535), HALT],
            "instruction 0: maxpool: one instruction of",
        ),
    ],
)
def test_validator_names_instruction_and_reason(stream, message):
    assert reject(*stream).startswith(message)


def test_python_and_cpp_agree_on_fields():
    """A stream that breaks one field's range, or a reserved bit, is refused by both."""
    rng = np.random.default_rng(1)
    for op in OPS.values():
        for name, f in op.fields.items():
            if f.low <= 0 and not f.signed:
                continue
            if f.low == -(1 << (f.width - 1)):
                continue
            code = bytearray(encode([ins(op.name), HALT]))
            code[4 * f.word : 4 * f.word + 4] = (
                int.from_bytes(code[4 * f.word : 4 * f.word + 4], "little")
                & ~(((1 << f.width) - 1) << f.bit)
            ).to_bytes(4, "little")
            with pytest.raises(ModelError, match=f"{name} is 0"):
                decode(bytes(code))
            with pytest.raises(ModelError, match=f"{op.name}: {name} is 0, at least {f.low}"):
                validate_code(CONFIG, bytes(code), 1000, 1000)
        used = {(f.word, b) for f in op.fields.values() for b in range(f.bit, f.bit + f.width)}
        free = [(w, b) for w in range(16) for b in range(32) if (w, b) not in used]
        word, bit = free[rng.integers(16, len(free))]
        code = bytearray(encode([ins(op.name), HALT]))
        code[4 * word + bit // 8] |= 1 << bit % 8
        with pytest.raises(ModelError, match="reserved bits"):
            decode(bytes(code))
        with pytest.raises(ModelError, match="reserved bits"):
            validate_code(CONFIG, bytes(code), 1000, 1000)


def test_every_instruction_is_64_bytes():
    assert len(encode([HALT])) == INSTRUCTION_BYTES == 64
    assert len(OPS) == 12
