"""Instructions as values, bytes and text; the one table behind all three is ``isa.json``.

In: instructions in one of these forms. Out: the same in another.

An instruction is 16 little-endian 32-bit words. A field is a run of bits of one word::

    word 0   31 ... 24 | 23 ... 16 | 15..12 signal | 11..8 wait | 7..0 opcode
    word 1 ..15         fields of the instruction, 0 where there are none

A float field is a word that holds a finite IEEE 754 binary32. `NpuInstruction.fields` has its bits
(`numerics.float_bits`); text has the number.

The C++ simulator is built from the same table (`generate.py`), and it holds the validator:
`byoc.vendor_templates.npu.machine.simulator.validate`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from byoc.errors import ModelError, choices

__all__ = [
    "INSTRUCTION_BYTES",
    "ISA_VERSION",
    "OPS",
    "UNITS",
    "Field",
    "NpuInstruction",
    "Opcode",
    "assemble",
    "decode",
    "disassemble",
    "encode",
]

_TABLE = json.loads((Path(__file__).parent / "isa.json").read_text())
ISA_VERSION: int = _TABLE["version"]
INSTRUCTION_BYTES: int = _TABLE["bytes"]
UNITS: tuple[str, ...] = tuple(_TABLE["units"])
_WORDS = struct.Struct(f"<{INSTRUCTION_BYTES // 4}I")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an instruction: a run of bits of one word.

    Args:
        name: As text spells it.
        word: Which word of the instruction, from 0.
        bit: Lowest bit in that word.
        width: Number of bits.
        signed: The bits are a number in two's complement.
        low: Least legal value.
        high: Largest legal value.
        doc: What it means.
        real: The bits are a float32; every finite one is legal.
    """

    name: str
    word: int
    bit: int
    width: int
    signed: bool
    low: int
    high: int
    doc: str
    real: bool = False

    def problem(self, value: int) -> str | None:
        """Return why a value is not legal, or None."""
        if not self.low <= value <= self.high:
            return f"{self.name} is {value}, legal: {self.low}..{self.high}"
        if self.real and not math.isfinite(_to_float(value)):
            return f"{self.name} is not a finite number"
        return None


@dataclass(frozen=True, slots=True)
class Opcode:
    """One kind of instruction.

    Args:
        name: As text spells it.
        opcode: Its number.
        unit: The unit that runs it; None for those that concern all units.
        fields: Its fields by name.
        doc: What it does.
    """

    name: str
    opcode: int
    unit: str | None
    fields: Mapping[str, Field]
    doc: str


@dataclass(frozen=True, slots=True)
class NpuInstruction:
    """One instruction.

    Args:
        op: Name of its kind.
        fields: Values by name; those left out are 0.
        wait: Units whose token it takes before it begins: a bit mask, bit i for ``UNITS[i]``.
        signal: Units that it gives a token when it is done: a bit mask likewise.
    """

    op: str
    fields: Mapping[str, int] = field(default_factory=dict)
    wait: int = 0
    signal: int = 0


def _field(row: list[int | str]) -> Field:
    name, word, bit, width, sign, low, doc = row
    assert isinstance(word, int) and isinstance(bit, int)
    assert isinstance(width, int) and isinstance(low, int)
    high = (1 << (width - 1)) - 1 if sign == "s" else (1 << width) - 1
    return Field(str(name), word, bit, width, sign == "s", low, high, str(doc), sign == "f")


OPS: Mapping[str, Opcode] = {
    name: Opcode(name, op["opcode"], op["unit"], {r[0]: _field(r) for r in op["fields"]}, op["doc"])
    for name, op in _TABLE["instructions"].items()
}
_BY_CODE = {op.opcode: op for op in OPS.values()}


def _used_bits(op: Opcode) -> list[int]:
    """For each word of an instruction the bits that belong to something; the rest must be zero.

    Word 0 holds opcode, wait and signal in its low half; fields take bits of words as they need::

        word 0   0xFFFF | field bits          word 3   a field of 16 bits at 0: 0x0000FFFF
    """
    words = [0] * (INSTRUCTION_BYTES // 4)
    words[0] = 0xFFFF
    for f in op.fields.values():
        words[f.word] |= ((1 << f.width) - 1) << f.bit
    return words


_USED = {op.name: _used_bits(op) for op in OPS.values()}


def encode(instructions: Iterable[NpuInstruction]) -> bytes:
    """Return the bytes of a stream.

    Raises:
        ModelError: An op or field is unknown or a value is not legal; the message names the
            instruction.
    """
    parts = []
    for index, ins in enumerate(instructions):
        op = _find(ins.op, index)
        words = [0] * (INSTRUCTION_BYTES // 4)
        words[0] = op.opcode | ins.wait << 8 | ins.signal << 12
        if not (0 <= ins.wait < 16 and 0 <= ins.signal < 16):
            raise ModelError(f"instruction {index} ({op.name}): wait and signal are 4-bit masks")
        for name, f in op.fields.items():
            value = ins.fields.get(name, 0)
            if (problem := f.problem(value)) is not None:
                raise ModelError(f"instruction {index} ({op.name}): {problem}")
            words[f.word] |= (value & ((1 << f.width) - 1)) << f.bit
        if not ins.fields.keys() <= op.fields.keys():
            bad = next(iter(ins.fields.keys() - op.fields.keys()))
            raise ModelError(
                f"instruction {index} ({op.name}): no field {bad!r}; {choices(bad, op.fields)}"
            )
        parts.append(_WORDS.pack(*words))
    return b"".join(parts)


def decode(code: bytes) -> list[NpuInstruction]:
    """Return the stream in `code`.

    Raises:
        ModelError: It is malformed; the message names the instruction.
    """
    if len(code) % INSTRUCTION_BYTES:
        raise ModelError(
            f"npu program: {len(code)} bytes are no multiple of {INSTRUCTION_BYTES}, truncated?"
        )
    result = []
    for index, words in enumerate(_WORDS.iter_unpack(code)):
        op = _BY_CODE.get(words[0] & 0xFF)
        if op is None:
            raise ModelError(f"instruction {index}: unknown opcode {words[0] & 0xFF}")
        if any(word & ~used for word, used in zip(words, _USED[op.name], strict=True)):
            raise ModelError(f"instruction {index} ({op.name}): reserved bits are set")
        fields = {}
        for name, f in op.fields.items():
            value = words[f.word] >> f.bit & ((1 << f.width) - 1)
            if f.signed and value >> (f.width - 1):
                value -= 1 << f.width
            if (problem := f.problem(value)) is not None:
                raise ModelError(f"instruction {index} ({op.name}): {problem}")
            fields[name] = value
        result.append(NpuInstruction(op.name, fields, words[0] >> 8 & 15, words[0] >> 12 & 15))
    return result


def disassemble(instructions: Iterable[NpuInstruction]) -> str:
    """Return a stream as text, one line per instruction; `assemble` reads it back.

    Fields that are 0 are left out: ``conv x=0 w=0 … wait=load signal=vector``.
    """
    return "".join(_line(ins) + "\n" for ins in instructions)


def assemble(text: str) -> list[NpuInstruction]:
    """Return the stream written in `text`: one instruction per line, ``#`` starts a comment.

    Raises:
        ModelError: A line is no instruction; the message names the line.
    """
    result = []
    for number, line in enumerate(text.splitlines(), 1):
        name, *words = line.split("#")[0].split() or [""]
        if not name:
            continue
        op = _find(name, f"line {number}")
        fields: dict[str, int] = {}
        masks = {"wait": 0, "signal": 0}
        for word in words:
            key, _, value = word.partition("=")
            if key in masks:
                masks[key] = _mask(value, number)
            elif key not in op.fields:
                raise ModelError(
                    f"line {number} ({name}): no field {key!r}; "
                    f"{choices(key, [*op.fields, *masks])}"
                )
            elif op.fields[key].real:
                fields[key] = _from_text(value, f"line {number} ({name}): {key}")
            elif not re.fullmatch(r"-?(\d+|0x[0-9a-fA-F]+)", value):
                raise ModelError(f"line {number} ({name}): {key} needs a number, found {value!r}")
            else:
                fields[key] = int(value, 0) if "x" in value else int(value)
        full = {f: fields.get(f, 0) for f in op.fields}
        result.append(NpuInstruction(name, full, masks["wait"], masks["signal"]))
    return result


def _line(ins: NpuInstruction) -> str:
    fields = OPS[ins.op].fields
    words = [ins.op]
    for name, value in ins.fields.items():
        if value:
            text = f"{_to_float(value):.9g}" if fields[name].real else str(value)
            words.append(f"{name}={text}")
    for key, mask in (("wait", ins.wait), ("signal", ins.signal)):
        if mask:
            words.append(f"{key}=" + "+".join(u for i, u in enumerate(UNITS) if mask >> i & 1))
    return " ".join(words)


def _to_float(bits: int) -> float:
    number: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return number


def _from_text(text: str, where: str) -> int:
    """The bits of a float32 written as text (nine digits tell every one apart)."""
    try:
        bits: int = struct.unpack("<I", struct.pack("<f", float(text)))[0]
    except (ValueError, OverflowError):
        raise ModelError(f"{where} needs a number, found {text!r}") from None
    return bits


def _mask(text: str, line: int) -> int:
    mask = 0
    for unit in text.split("+"):
        if unit not in UNITS:
            raise ModelError(f"line {line}: no unit {unit!r}; {choices(unit, UNITS)}")
        mask |= 1 << UNITS.index(unit)
    return mask


def _find(name: str, where: int | str) -> Opcode:
    if name not in OPS:
        line = where if isinstance(where, str) else f"instruction {where}"
        raise ModelError(f"{line}: no instruction {name!r}; {choices(name, OPS)}")
    return OPS[name]
