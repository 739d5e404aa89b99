"""A stream of instructions whose tokens are put in automatically.

In: instructions in program order, each with the bytes it reads and writes. Out: the same with wait
and signal tokens, so that the units run beside each other and still compute the same.

Whoever adds an instruction says which bytes it reads and writes. The four units run beside each
other; where two units touch the same bytes and one of them writes, the later instruction must
wait for the earlier one::

    load   ── L0 ──────── L1 ─────        L1 may overwrite what C0 reads: L1 waits for C0
              └▶ C0 ──┘    └▶ C1          C0 reads what L0 wrote:         C0 waits for L0

An order that already follows from earlier tokens (each unit keeps a vector clock of what it knows
to be done) needs no new one. Between two units, tokens are given and taken in the same order, so
the n-th wait always meets the n-th signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byoc.vendor_templates.npu.isa.instructions import OPS, UNITS, NpuInstruction

__all__ = ["Access", "Stream"]

Access = tuple[str, int, int]
"""(memory, first, end): "act" and "weight" and "work" in bytes, "acc" in words."""

_COUNT = len(UNITS)
_CROWDED = 64


@dataclass(slots=True, eq=False)
class _Record:
    """Somebody touched [first, end): instruction `index` of `unit`."""

    first: int
    end: int
    unit: int
    index: int
    write: bool


class Stream:
    """Instructions in program order, and what each unit knows to be done."""

    def __init__(self) -> None:
        self._ops: list[str] = []
        self._fields: list[dict[str, int]] = []
        self._wait: list[int] = []
        self._signal: list[int] = []
        self._knows = [[-1] * _COUNT for _ in UNITS]  # [unit][other]: last instruction known done
        self._snapshots: list[tuple[int, ...]] = []  # what a unit knew when it issued
        self._records: dict[str, list[_Record]] = {}
        self._crowded: dict[str, int] = {}  # memory: number of records that calls for `_forget`

    def add(
        self, op: str, reads: Sequence[Access], writes: Sequence[Access], **fields: int
    ) -> None:
        """Append an instruction, with the tokens that order it after what it conflicts with.

        Args:
            op: Name of the instruction.
            reads: Ranges that it reads.
            writes: Ranges that it writes.
            **fields: Its fields; those left out are 0.
        """
        unit = UNITS.index(OPS[op].unit or "")
        index = len(self._ops)
        needs = [-1] * _COUNT
        for access in reads:
            self._touch(access, unit, index, False, needs)
        for access in writes:
            self._touch(access, unit, index, True, needs)
        self._ops.append(op)
        self._fields.append(fields)
        self._signal.append(0)
        self._wait.append(self._synchronise(unit, needs))
        self._knows[unit][unit] = index
        self._snapshots.append(tuple(self._knows[unit]))

    def __len__(self) -> int:
        return len(self._ops)

    def finish(self) -> list[NpuInstruction]:
        """Return the stream, with its halt."""
        body = [
            NpuInstruction(op, fields, wait, signal)
            for op, fields, wait, signal in zip(
                self._ops, self._fields, self._wait, self._signal, strict=True
            )
        ]
        return [*body, NpuInstruction("halt")]

    def _touch(self, access: Access, unit: int, index: int, write: bool, needs: list[int]) -> None:
        memory, first, end = access
        records = self._records.setdefault(memory, [])
        met = [r for r in records if r.end > first and r.first < end]
        merged = False
        for record in met:
            if (write or record.write) and record.unit != unit:
                needs[record.unit] = max(needs[record.unit], record.index)
            inside = first <= record.first and record.end <= end
            if inside and write:
                # Whoever comes later is ordered after this one, hence after that.
                records.remove(record)
            elif inside and not merged and not record.write and record.unit == unit:
                record.first, record.end, record.index = first, end, index
                merged = True
        if not merged:
            records.append(_Record(first, end, unit, index, write))
        if len(records) >= self._crowded.get(memory, _CROWDED):
            self._forget(memory)

    def _forget(self, memory: str) -> None:
        """Drop the records that every unit knows to be done: nobody needs to wait for them."""
        known = [
            min(self._knows[other][unit] for other in range(_COUNT) if other != unit)
            for unit in range(_COUNT)
        ]
        kept = [r for r in self._records[memory] if r.index > known[r.unit]]
        self._records[memory] = kept
        self._crowded[memory] = max(_CROWDED, 2 * len(kept))

    def _synchronise(self, unit: int, needs: list[int]) -> int:
        """Take the tokens that `needs` asks for; returns the wait mask."""
        knows = self._knows[unit]
        wanted = [u for u in range(_COUNT) if needs[u] > knows[u]]
        mask = 0
        for other in wanted:
            implied = any(
                self._snapshots[needs[via]][other] >= needs[other] for via in wanted if via != other
            )
            if not implied:
                mask |= 1 << other
                self._signal[needs[other]] |= 1 << unit
        for other in range(_COUNT):
            if mask >> other & 1:
                for k, done in enumerate(self._snapshots[needs[other]]):
                    knows[k] = max(knows[k], done)
        return mask
