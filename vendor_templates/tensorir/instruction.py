"""Instructions as values, and how the iterators of an op are mapped to theirs.

An op and an instruction are both Einstein sums over three operands a, b and c::

    op           mk, kn -> mn       m in a and c    n in b and c    k in a and b
    instruction   k, nk -> n                        n in b and c    k in a and b

An iterator of the instruction is the image of one of the op's that is in the same operands; the
op's other iterators become loops around the instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["INSTRUCTIONS", "Einsum", "Instruction", "NoImageError", "mapping"]


@dataclass(frozen=True)
class Einsum:
    """A sum of products, ``c += a * b``.

    Attributes:
        text: The iterators of a, b and c: "mk, kn -> mn".
        sizes: Iterator → how often it runs.
        dtypes: Element types of a, b and c.
    """

    text: str
    sizes: Mapping[str, int]
    dtypes: tuple[str, str, str]

    @property
    def operands(self) -> tuple[str, str, str]:
        """The iterators of a, b and c."""
        inputs, output = self.text.replace(" ", "").split("->")
        a, b = inputs.split(",")
        return a, b, output

    def places(self, iterator: str) -> str:
        """Return the operands that an iterator is in ("ab")."""
        return "".join(n for n, o in zip("abc", self.operands, strict=True) if iterator in o)


@dataclass(frozen=True)
class Instruction:
    """One instruction of a CPU.

    Attributes:
        name: Of the instruction, for options and reports.
        desc: What it computes. Iterators of b stand in the order in which its register has them.
        impl: (c, a, b) -> c: expressions over vectors of all elements of each operand.
        features: CPU features that it needs, in LLVM's names.
    """

    name: str
    desc: Einsum
    impl: Callable[[Any, Any, Any], Any]
    features: tuple[str, ...] = ()


class NoImageError(ValueError):
    """An iterator of an instruction has no image in an op."""


def mapping(op: Einsum, instruction: Instruction) -> dict[str, str]:
    """Map the iterators of an instruction to those of an op.

    Args:
        op: What is to be computed.
        instruction: By what.

    Returns:
        Iterator of the instruction → iterator of the op, the longest of those that fit.

    Raises:
        NoImageError: An iterator has no image; the message names it.
    """
    images: dict[str, str] = {}
    desc = instruction.desc
    for iterator in desc.sizes:
        places = desc.places(iterator)
        fitting = [i for i in op.sizes if op.places(i) == places and i not in images.values()]
        if not fitting:
            where = " and ".join(places)
            raise NoImageError(
                f"iterator {iterator} of {instruction.name} ({desc.text}, in {where}) has no image "
                f"in {op.text}"
            )
        images[iterator] = max(fitting, key=lambda i: op.sizes[i])
    return images


# -- what is shipped ------------------------------------------------------------------------------


def _vnni(c: Any, a: Any, b: Any) -> Any:
    """Sixteen sums of four products: the four elements of a with every four of b."""
    from tvm.script import tirx as script

    wide = script.reinterpret("int8x64", script.broadcast(script.reinterpret("int32", a), 16))
    return script.call_llvm_pure_intrin("int32x16", "llvm.x86.avx512.vpdpbusd.512", c, wide, b)


def _portable(c: Any, a: Any, b: Any) -> Any:
    """One element of a times eight of b."""
    from tvm.script import tirx as script

    return c + script.broadcast(script.Cast("int32", a), 8) * script.Cast("int32x8", b)


_DTYPES = ("uint8", "int8", "int32")

INSTRUCTIONS: Sequence[Instruction] = (
    Instruction("vnni", Einsum("k, nk -> n", {"n": 16, "k": 4}, _DTYPES), _vnni, ("avx512vnni",)),
    Instruction("portable", Einsum("k, nk -> n", {"n": 8, "k": 1}, _DTYPES), _portable),
)
"""The best first."""
