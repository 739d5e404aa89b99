"""What makes two pieces of work the same work: keys of the store.

    nodes    nn.conv2d(v0, c1) → v2, nn.relu(v2) → v3      numbered as met, whatever they are called
    types    v0 float32[1, 64, 56, 56], c1 float32[64, 64, 3, 3] constant, …
    place    dnnl 3.2.1 {"option": …} on "cpu", 2 threads of "AMD EPYC 7B13"

Names are not in a key and weights' values are not: time does not depend on them. Three kinds of
value do change the work, and are in it: a constant of one element (``x ** 2`` is not ``x ** 2.7``),
a short constant that is the same everywhere (zero points of 0 are skipped), and attributes.
Weights full of denormals or zeros are the exception that keys do not see.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byoc.runtime.native import usable_processors
from byoc.segment import Array, Node, Segment, TensorType
from byoc.vendor import Match

__all__ = ["digest", "machine_name", "match_content", "place_identity", "segment_content"]

_SHORT = 4096  # elements; longer constants are never "the same everywhere" for a kernel's sake
_UNNAMED = frozenset({"node", "reason"})  # attributes that only tell where an op came from


def digest(*parts: object) -> str:
    """Return one short hexadecimal name for a sequence of plain values."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:40]


def _plain(value: Any) -> Any:
    """An attribute in one spelling, whatever number type it came in."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(k), _plain(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return value


def _constant(array: Array) -> str:
    """What of a constant's values the work depends on."""
    if array.size == 0 or array.size > _SHORT:
        return "constant"
    first = array.reshape(-1)[0]
    if array.size > 1 and not bool((array == first).all()):
        return "constant"
    return f"constant {first}"


class _Numbers:
    """Values numbered as they are met, and described once."""

    def __init__(
        self, type_of: Callable[[int], TensorType], constant_of: Callable[[int], Array | None]
    ) -> None:
        self._type_of = type_of
        self._constant_of = constant_of
        self._number: dict[int, int] = {}
        self.described: list[str] = []

    def __call__(self, value: int, made: bool = False) -> int:
        number = self._number.get(value)
        if number is None:
            number = self._number[value] = len(self._number)
            array = None if made else self._constant_of(value)
            kind = "" if array is None else f" {_constant(array)}"
            self.described.append(f"{self._type_of(value)}{kind}")
        return number


def _content(nodes: Iterable[Node], numbers: _Numbers) -> tuple[object, ...]:
    lines: list[object] = []
    for node in nodes:
        attrs = tuple(
            (key, _plain(node.attrs[key])) for key in sorted(node.attrs) if key not in _UNNAMED
        )
        reads = tuple([numbers(v) for v in node.inputs])
        writes = tuple([numbers(v, made=True) for v in node.outputs])
        lines.append((node.op, attrs, reads, writes))
    return (*lines, *numbers.described)


def match_content(match: Match) -> str:
    """Return the key of the ops of a match; equal to the first key of a segment with the same ops.

    What is made and read outside a match cannot be seen in it, so outputs are not part of it.
    """
    return digest(*_content(match.nodes, _Numbers(match.type, match.constant)))


def segment_content(segment: Segment) -> tuple[str, str]:
    """Return the keys of a segment.

    Returns:
        The key of its ops alone (as `match_content`), and that of all a vendor is given.

    """
    numbers = _Numbers(segment.type, segment.constants.get)
    lines = _content(segment.nodes, numbers)
    composites = [(c.pattern, c.nodes) for c in segment.composites]
    inputs = [numbers(v) for v in segment.inputs]
    outputs = [numbers(v) for v in segment.outputs]
    return digest(*lines), digest(*lines, composites, inputs, outputs, segment.version)


def place_identity(place: str, version: str, options: Mapping[str, Any], processor: str) -> str:
    """Return who does the work as one text.

    Args:
        place: A vendor, or "host".
        version: Its version; other versions are timed anew.
        options: Its options, by name.
        processor: The queue that its segments run on.

    """
    return f"{place} {version} {_plain(options)} on {processor}"


@functools.cache
def machine_name() -> str:
    """Return the processor's model name and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model} x{usable_processors()}"
