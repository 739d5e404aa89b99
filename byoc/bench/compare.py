"""Run two engines on the same random inputs and say how far their outputs are apart.

In: two engines and a way to make inputs. Out: the differences, and doubts about what they prove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from byoc.bench.difference import Difference, difference
from byoc.bench.engines import Engine
from byoc.errors import ExecutionError
from byoc.segment import Array
from byoc.timing.inputs import trivial

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of every output on every seed.

    Attributes:
        rows: (seed, output name, difference).
        remarks: Why agreement may prove little.

    """

    rows: tuple[tuple[int, str, Difference], ...]
    remarks: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest relative difference of all rows."""
        return max((d.relative for _, _, d in self.rows), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON."""
        return {
            "worst_relative": self.worst,
            "outputs": [{"seed": s, "output": o, **asdict(d)} for s, o, d in self.rows],
            "remarks": list(self.remarks),
        }


def compare(
    engine: Engine,
    reference: Engine,
    inputs_of: Callable[[int], dict[str, Array]],
    seeds: Iterable[int],
) -> Comparison:
    """Compare an engine with a reference.

    Args:
        engine: The one in question.
        reference: The one that is believed.
        inputs_of: Seed → inputs by name.
        seeds: Which inputs to compare on.

    Returns:
        One row for each seed and output.

    Raises:
        ExecutionError: The outputs differ in name, shape or dtype.

    """
    rows, remarks = [], []
    for seed in seeds:
        inputs = inputs_of(seed)
        expected, found = reference.run(inputs), engine.run(inputs)
        if list(found) != list(expected):
            raise ExecutionError(
                f"outputs differ by name: {engine.name} gives {', '.join(found)}; "
                f"{reference.name} gives {', '.join(expected)}"
            )
        for name, array in expected.items():
            mine = found[name]
            if mine.shape != array.shape or mine.dtype != array.dtype:
                raise ExecutionError(
                    f"output {name!r}: {engine.name} gives {mine.dtype}{list(mine.shape)}, "
                    f"{reference.name} gives {array.dtype}{list(array.shape)}"
                )
            rows.append((seed, name, difference(mine, array)))
        problem = trivial(expected)
        if problem:
            remarks.append(f"seed {seed}: {problem}; agreement on it proves little")
    return Comparison(tuple(rows), tuple(remarks))
