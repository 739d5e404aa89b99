"""The program while it is being made: values, ops, and edits that keep them consistent.

Every rewrite has the same form: the *last* op of what is replaced takes over ::

    conv ── add ── relu          relu.morph("convolution", conv's inputs, post=[add, relu])
      └──────┴── die ──┘         conv and add lose their last user and are gone

so ops stay in topological order without sorting, and what nobody reads disappears at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from byoc.segment import Array, Dim, TensorType

__all__ = ["DnnlGraph", "DnnlOp", "PostOp"]


@dataclass(frozen=True, slots=True)
class PostOp:
    """A step fused behind an op, applied to its output.

    Attributes:
        alg: The eltwise function, the binary op, or "requantize".
        alpha: First parameter of an eltwise; the least integer of a requantize.
        beta: Second parameter of an eltwise; the largest integer of a requantize.
        value: The right operand of a binary op; None for the others.
        scale: Scale of an int8 `value`, or of a requantize; else None.
        zero: Zero point that belongs to `scale`.

    """

    alg: str
    alpha: float = 0.0
    beta: float = 0.0
    value: int | None = None
    scale: float | None = None
    zero: int = 0


@dataclass(slots=True, eq=False)
class DnnlOp:
    """One op of program.md, while passes may still change it.

    Attributes:
        kind: A kind of program.md, or ``dequantize_constant`` until passes have run.
        inputs: Value ids, in the order of program.md.
        outputs: Value ids; no other op has one of them.
        attrs: Attributes by name, final values of JSON's types (or dims).
        post: Steps fused behind the op, in the order they apply.
        source: Names, in the user's model, of the ops this one stands for; the last names it.
        dead: True once nobody reads its outputs; `DnnlGraph` then drops it.

    """

    kind: str
    inputs: list[int]
    outputs: list[int]
    attrs: dict[str, Any] = field(default_factory=dict)
    post: list[PostOp] = field(default_factory=list)
    source: tuple[str, ...] = ()
    dead: bool = False

    @property
    def out(self) -> int:
        """The only output."""
        return self.outputs[0]

    @property
    def reads(self) -> list[int]:
        """Every value the op reads: inputs and post-op operands."""
        return self.inputs + [p.value for p in self.post if p.value is not None]


class DnnlGraph:
    """Values, constants and ops, with who makes and who reads each value."""

    def __init__(self, values: Iterable[TensorType]) -> None:
        self.values = list(values)
        self.constants: dict[int, Array] = {}
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.ops: list[DnnlOp] = []
        self.producer: dict[int, DnnlOp] = {}
        self.readers: dict[int, list[DnnlOp]] = {}
        self.source: tuple[str, ...] = ()
        self._moved: dict[int, int] = {}

    # values

    def type(self, value: int) -> TensorType:
        """Type of a value."""
        return self.values[value]

    def shape(self, value: int) -> tuple[Dim, ...]:
        """Shape of a value."""
        return self.values[value].shape

    def rank(self, value: int) -> int:
        """Number of dimensions of a value."""
        return len(self.values[value].shape)

    def new(self, shape: Sequence[Dim], dtype: str = "float32") -> int:
        """Add a value that no op makes yet, and return its id.

        Args:
            shape: Shape of the value.
            dtype: Its dtype.
        """
        self.values.append(TensorType(tuple(shape), dtype))
        return len(self.values) - 1

    def constant(self, array: Array) -> int:
        """A fresh constant value."""
        value = self.new(array.shape, array.dtype.name)
        self.constants[value] = array
        return value

    def scalar(self, value: int) -> float | None:
        """The number when a value is a finite float constant of one element, else None."""
        array = self.constants.get(value)
        if array is None or array.size != 1 or array.dtype != np.float32:
            return None
        number = float(array.reshape(()))
        return number if np.isfinite(number) else None

    def uses(self, value: int) -> int:
        """How many ops read a value, plus one for each time it is an output."""
        return len(self.readers.get(value, ())) + self.outputs.count(value)

    def made_by(self, value: int, kind: str, *, alone: bool = True) -> DnnlOp | None:
        """Return the op that makes a value, when it is of the given kind.

        Args:
            value: The value.
            kind: A kind of program.md.
            alone: Also ask that nothing else reads the value.

        Returns:
            The op, or None.
        """
        op = self.producer.get(value)
        if op is None or op.kind != kind or (alone and self.uses(value) != 1):
            return None
        return op

    # edits

    def emit(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[Dim] | None = None,
        dtype: str = "float32",
        *,
        out: int | Sequence[int] | None = None,
        **attrs: Any,
    ) -> int:
        """Append an op; during `walk`, before the op being visited.

        Args:
            kind: A kind of program.md.
            inputs: Value ids.
            shape: Shape of a fresh output; None where `out` is given.
            dtype: Dtype of the fresh output.
            out: Existing values, made by no op yet, that the op writes.
            **attrs: Attributes of the op.

        Returns:
            The first output.

        """
        if out is None:
            assert shape is not None
            out = self.new(shape, dtype)
        outputs = [out] if isinstance(out, int) else list(out)
        op = DnnlOp(kind, list(inputs), outputs, attrs, source=self.source)
        self.ops.append(op)
        for value in outputs:
            self.producer[value] = op
        self._read(op)
        return outputs[0]

    def morph(
        self,
        op: DnnlOp,
        kind: str,
        inputs: Sequence[int],
        attrs: dict[str, Any] | None = None,
        post: Sequence[PostOp] = (),
        absorbed: Iterable[DnnlOp] = (),
    ) -> None:
        """Make `op` compute its outputs in another way; what only its old form read disappears.

        Args:
            op: Keeps its position and its outputs.
            kind: The new kind.
            inputs: The new inputs, values made before `op`.
            attrs: The new attributes.
            post: The new post-ops.
            absorbed: Ops whose work `op` does from now on; it takes over their source names.

        """
        before = op.reads
        self._unread(op)
        op.kind, op.inputs, op.attrs, op.post = kind, list(inputs), dict(attrs or {}), list(post)
        names = [n for other in absorbed for n in other.source]
        op.source = tuple(dict.fromkeys([*names, *op.source]))
        self._read(op)
        self._sweep(before)

    def replace(self, old: int, new: int) -> None:
        """Let every reader of `old`, also later ones that `resolve`, read `new`.

        The maker of `old` disappears unless other outputs of it are read.

        Args:
            old: The value that nobody reads afterwards.
            new: The value that takes its place.
        """
        self._moved[old] = new
        for op in self.readers.pop(old, []):
            op.inputs = [new if v == old else v for v in op.inputs]
            op.post = [_renamed(p, old, new) for p in op.post]
            self.readers.setdefault(new, []).append(op)
        self.outputs = [new if v == old else v for v in self.outputs]
        self._sweep([old])

    def resolve(self, value: int) -> int:
        """The value that stands for `value` after replacements."""
        while value in self._moved:
            value = self._moved[value]
        return value

    def walk(self) -> Iterator[DnnlOp]:
        """Every live op in order; ops emitted meanwhile go before the one being visited."""
        before, self.ops = self.ops, []
        for op in before:
            if op.dead:
                continue
            self.source = op.source
            yield op
            if not op.dead:
                self.ops.append(op)
        self.ops = [op for op in self.ops if not op.dead]

    def prune(self) -> None:
        """Remove ops whose outputs nobody reads."""
        for op in reversed(list(self.ops)):
            self._sweep(op.outputs)
        self.ops = [op for op in self.ops if not op.dead]

    def _read(self, op: DnnlOp) -> None:
        for value in op.reads:
            self.readers.setdefault(value, []).append(op)

    def _unread(self, op: DnnlOp) -> None:
        for value in op.reads:
            self.readers[value].remove(op)

    def _sweep(self, values: Iterable[int]) -> None:
        """Remove the makers of values nobody reads, and what only they needed."""
        pending = list(values)
        while pending:
            op = self.producer.get(pending.pop())
            if op is None or op.dead or any(self.uses(v) for v in op.outputs):
                continue
            op.dead = True
            self._unread(op)
            pending.extend(op.reads)


def _renamed(post: PostOp, old: int, new: int) -> PostOp:
    return replace(post, value=new) if post.value == old else post
