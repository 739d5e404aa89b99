"""The records that say what a vendor takes, and how they are read from YAML.

What a record does not name is not taken: an attribute that is not listed must have the value that
Relax gives it by default, so that a vendor which never heard of groups is never given any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic

from byoc.errors import VendorError

__all__ = ["ANY", "Capability", "Operand", "Range", "TailStep", "load_capabilities"]

ANY = "any"
"""As the legal values of an attribute: all."""


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Range(_Record):
    """Numbers from `min` to `max`, both legal; of a tuple, each one.

    Attributes:
        min: The least.
        max: The greatest.
        multiple: What they must be multiples of.
    """

    min: float | None = None
    max: float | None = None
    multiple: Annotated[int, pydantic.Field(ge=1)] = 1

    def __str__(self) -> str:
        ends = ["" if end is None else f"{end:g}" for end in (self.min, self.max)]
        text = f"{ends[0]} to {ends[1]}" if all(ends) else ""
        text = text or (f"at least {ends[0]}" if ends[0] else f"at most {ends[1]}" * bool(ends[1]))
        steps = f"a multiple of {self.multiple}" if self.multiple > 1 else ""
        return ", ".join(filter(None, (text, steps))) or "any number"


Scalar = bool | int | float | str | None
Legal = Range | list[Scalar | list[Scalar]] | Scalar
"""A range, a list of the legal values, the one legal value, or "any"."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, (int, str)) else value


Ranks = Annotated[tuple[int, ...], pydantic.BeforeValidator(_as_list)]
Dtypes = Annotated[tuple[str, ...], pydantic.BeforeValidator(_as_list)]


class Operand(_Record):
    """What one input of an op may be.

    Attributes:
        rank: The legal numbers of dimensions; empty for any.
        dtypes: The legal dtypes; empty for those of the capability.
        constant: True: a constant of the model; False: a value of run time; None: either.
        dims: Axis → its legal sizes. Negative axes count from the end.
        max_elements: The most elements; None for any number.
    """

    rank: Ranks = ()
    dtypes: Dtypes = ()
    constant: bool | None = None
    dims: dict[int, Legal] = {}
    max_elements: Annotated[int, pydantic.Field(ge=0)] | None = None


@dataclass(frozen=True, slots=True)
class TailStep:
    """One op that may follow and is computed with what comes before.

    Attributes:
        kinds: "bias" (add a constant with one number for each channel), "residual" (add a value of
            run time with the same shape), or names of ops of one tensor; one of these.
        optional: Whether it may be absent.
    """

    kinds: tuple[str, ...]
    optional: bool

    def __str__(self) -> str:
        return "|".join(self.kinds) + "?" * self.optional


class Capability(_Record):
    """One op in the forms that a vendor takes it in.

    Attributes:
        op: The Relax name without its prefix ("nn.conv2d").
        dtypes: The legal dtypes of its inputs and outputs.
        inputs: What each input may be; the last one stands for all further ones. Empty: anything.
        attrs: Attribute → legal values (see `Legal`). ``"clip.max"`` is that of a step of the tail,
            where attributes that are not named may have any value.
        tail: What may follow, in this order, separated by blanks: ``"bias? nn.relu|clip?"``.
        symbolic: Whether dimensions may be known at run time only.
        max_bytes: The most bytes of all inputs and outputs together; None for any number.
        name: Of its patterns; "" for one made of the op's.
        note: Remark for the op table.
    """

    op: str
    dtypes: Dtypes = ("float32",)
    inputs: tuple[Operand, ...] = ()
    attrs: dict[str, Legal] = {}
    tail: str = ""
    symbolic: bool = False
    max_bytes: Annotated[int, pydantic.Field(ge=0)] | None = None
    name: str = ""
    note: str = ""

    @pydantic.field_validator("op")
    @classmethod
    def _bare(cls, op: str) -> str:
        if op.startswith("relax.") or not op:
            raise ValueError(f"ops are named without their prefix, found {op!r}")
        return op

    @pydantic.field_validator("tail")
    @classmethod
    def _readable(cls, tail: str) -> str:
        for word in tail.split():
            if not all(word.removesuffix("?").split("|")):
                raise ValueError(f"a step is named as in 'nn.relu|clip?', found {word!r}")
        return tail

    @property
    def steps(self) -> tuple[TailStep, ...]:
        """The tail, step by step."""
        return tuple(
            TailStep(tuple(word.removesuffix("?").split("|")), word.endswith("?"))
            for word in self.tail.split()
        )

    @property
    def label(self) -> str:
        """How its patterns' names begin."""
        return self.name or self.op.removeprefix("nn.").replace(".", "_")

    def operand(self, number: int) -> Operand:
        """Return what an input may be.

        Args:
            number: Of the input, from 0.
        """
        return self.inputs[min(number, len(self.inputs) - 1)] if self.inputs else Operand()


def load_capabilities(source: Path | str | Sequence[Any]) -> list[Capability]:
    """Read capabilities from YAML: a list of mappings with the fields of `Capability`.

    Example:
        >>> load_capabilities("[{op: matmul, tail: bias? nn.relu?}]")[0].op
        'matmul'

    Args:
        source: The path of a file, YAML itself, or what was read from it.

    Raises:
        VendorError: It is no such list; the entry and the field are named.
    """
    import yaml

    where = "capabilities"
    if isinstance(source, Path):
        where = str(source)
        try:
            source = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise VendorError(f"vendor author: cannot read {where}: {error}") from error
    if isinstance(source, str):
        try:
            source = yaml.safe_load(source)
        except yaml.YAMLError as error:
            raise VendorError(f"vendor author: {where} is no YAML: {error}") from error
    if not isinstance(source, list):
        raise VendorError(
            f"vendor author: {where} must be a list of capabilities, found {source!r:.60}"
        )
    found = []
    for number, entry in enumerate(source):
        try:
            found.append(Capability.model_validate(entry))
        except pydantic.ValidationError as error:
            op = entry.get("op", "?") if isinstance(entry, dict) else "?"
            lines = [
                f"{'.'.join(map(str, one['loc'])) or 'entry'}: {one['msg']}"
                for one in error.errors()
            ]
            raise VendorError(
                f"vendor author: {where}, entry {number} ({op}): {'; '.join(lines)}; fields are "
                f"{', '.join(Capability.model_fields)}"
            ) from error
    return found
