"""The blob of an npu artifact: a header that says how to call it, and the instructions.

::

    "BYOCNPU1" | u32 header bytes | u32 instructions | header (JSON) | instructions, 64 bytes each
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byoc.errors import ModelError
from byoc.segment import Array
from byoc.vendor_templates.npu.isa.instructions import (
    INSTRUCTION_BYTES,
    ISA_VERSION,
    NpuInstruction,
    decode,
)
from byoc.vendor_templates.npu.machine.config import NpuConfig, load_config

__all__ = ["NpuProgram", "decode_program", "encode_program"]

_MAGIC = b"BYOCNPU1"
_PROLOGUE = struct.Struct("<8sII")


@dataclass(frozen=True, slots=True)
class NpuProgram:
    """A compiled segment.

    Args:
        segment: Its name.
        config: The machine it was compiled for.
        code: Encoded instructions.
        constant_bytes: Size of the constant image in device memory.
        work_bytes: Size of work memory in device memory.
        inputs: Number of inputs of the segment.
        outputs: Number of its outputs.
        feeds: How inputs and work memory correspond (see src/program.h, `Border`).
        results: How outputs and work memory correspond.
        operations: Source names with the index of their first instruction.
        constants: int8 image of the constants; None for a program read from a blob.
    """

    segment: str
    config: NpuConfig
    code: bytes
    constant_bytes: int
    work_bytes: int
    inputs: int
    outputs: int
    feeds: tuple[Mapping[str, Any], ...]
    results: tuple[Mapping[str, Any], ...]
    operations: tuple[tuple[str, int], ...] = ()
    constants: Array | None = field(default=None, compare=False)

    @property
    def instructions(self) -> list[NpuInstruction]:
        """The instructions, decoded."""
        return decode(self.code)


def encode_program(program: NpuProgram) -> bytes:
    """Return the blob of a program (without its constants, which the artifact holds)."""
    header = json.dumps(
        {
            "version": ISA_VERSION,
            "segment": program.segment,
            "config": program.config.flat,
            "machine": program.config.model_dump(mode="json"),
            "constant_bytes": program.constant_bytes,
            "work_bytes": program.work_bytes,
            "inputs": program.inputs,
            "outputs": program.outputs,
            "feeds": [dict(f) for f in program.feeds],
            "results": [dict(r) for r in program.results],
            "operations": program.operations,
        }
    ).encode()
    count = len(program.code) // INSTRUCTION_BYTES
    return _PROLOGUE.pack(_MAGIC, len(header), count) + header + program.code


def decode_program(blob: bytes) -> NpuProgram:
    """Return the program in a blob.

    Raises:
        ModelError: It is none, it is damaged, or it is of another version.
    """
    if len(blob) < _PROLOGUE.size or not blob.startswith(_MAGIC):
        raise ModelError("npu program: the blob does not start with 'BYOCNPU1'")
    _, size, count = _PROLOGUE.unpack_from(blob)
    code = blob[_PROLOGUE.size + size :]
    if len(code) != count * INSTRUCTION_BYTES:
        raise ModelError(
            f"npu program: {len(code)} bytes of instructions, expected {count * INSTRUCTION_BYTES}"
        )
    try:
        header = json.loads(blob[_PROLOGUE.size : _PROLOGUE.size + size])
        version = header["version"]
        if version != ISA_VERSION:
            raise ModelError(
                f"npu program: it is for version {version} of the instruction set, "
                f"this release has {ISA_VERSION}"
            )
        return NpuProgram(
            segment=header["segment"],
            config=load_config(header["machine"]),
            code=code,
            constant_bytes=header["constant_bytes"],
            work_bytes=header["work_bytes"],
            inputs=header["inputs"],
            outputs=header["outputs"],
            feeds=tuple(header["feeds"]),
            results=tuple(header["results"]),
            operations=tuple((name, start) for name, start in header["operations"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"npu program: the header is damaged: {error!r}") from error
