"""Which unit a program waits for: the chain of instructions that makes it as long as it is.

In: a program and its trace. Out: cycles by unit, which add up to those of the program. An
instruction begins when its unit is free or when a token arrives, whichever comes last; following
that backwards from the last effect, every cycle belongs to the one instruction that held up the
end. A unit that keeps others waiting is charged for it, one that is busy beside the chain is not.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from byoc.vendor_templates.npu.isa.instructions import INSTRUCTION_BYTES, OPS, UNITS

__all__ = ["critical_cycles"]

_UNIT_OF = {op.opcode: UNITS.index(op.unit) if op.unit else -1 for op in OPS.values()}


def critical_cycles(code: bytes, trace: tuple[tuple[int, int, int], ...]) -> dict[str, int]:
    """Return the cycles that each unit holds up the end of a program.

    Args:
        code: Encoded instructions.
        trace: Cycles (start, free, done) of each.
    """
    first = np.frombuffer(code, "<u4").reshape(-1, INSTRUCTION_BYTES // 4)[:, 0].tolist()
    units = [_UNIT_OF[word & 255] for word in first]
    before = _predecessors(first, units, trace)
    found = dict.fromkeys(UNITS, 0)
    at = max(range(len(trace)), key=lambda i: trace[i][2], default=-1)
    through_token = True
    while at >= 0:
        start, free, done = trace[at]
        if units[at] >= 0:
            found[UNITS[units[at]]] += (done if through_token else free) - start
        at, through_token = before[at]
    return found


def _predecessors(
    first: list[int], units: list[int], trace: tuple[tuple[int, int, int], ...]
) -> list[tuple[int, bool]]:
    """For each instruction the one that it began after, and whether by a token; -1: none."""
    last = [(-1, 0)] * len(UNITS)  # per unit: its last instruction, when it was free
    tokens = [[deque[int]() for _ in UNITS] for _ in UNITS]
    latest, end = -1, 0  # the instruction that is done last
    found: list[tuple[int, bool]] = []
    for index, (word, unit) in enumerate(zip(first, units, strict=True)):
        if unit < 0:  # everything before is done
            found.append((latest, True))
            last = [(index, end)] * len(UNITS)
            continue
        at, time = last[unit]
        by_token = False
        for other in range(len(UNITS)):
            if word >> 8 + other & 1:
                giver = tokens[other][unit].popleft()
                if trace[giver][2] > time:
                    at, time, by_token = giver, trace[giver][2], True
        found.append((at, by_token))
        for other in range(len(UNITS)):
            if word >> 12 + other & 1:
                tokens[unit][other].append(index)
        last[unit] = (index, trace[index][1])
        if trace[index][2] >= end:
            latest, end = index, trace[index][2]
    return found
