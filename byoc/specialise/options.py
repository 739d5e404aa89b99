"""What users say about plans per shape, and what they are told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from byoc.dims import is_name, size_of
from byoc.errors import OptionError, choices
from byoc.segment import PortType

__all__ = [
    "PlanUse",
    "Specialisations",
    "Specialise",
    "check_options",
    "check_outputs",
    "symbolic_dims",
]


@dataclass(frozen=True)
class Specialise:
    """When a shape gets a plan of its own, and how many plans are kept.

    Attributes:
        limit: plans kept, besides those of `shapes`; those used last stay.
        after: calls that meet a shape before its plan is built in the background.
        at_once: build in the first call instead, which waits.
        shapes: sizes by dimension, built by `byoc.compile` itself, kept for good and saved with the
            model.
        buckets: dimension → sizes; a call between two of them is padded to the larger. Only for
            dimensions whose padding the model does not mind (rows of a batch; positions that a mask
            hides).
        fill: input → what to pad it with (0).
        check: compare the first padded answer of each plan with the symbolic model's.

    Raises:
        OptionError: a value is out of range.
    """

    limit: int = 8
    after: int = 3
    at_once: bool = False
    shapes: Sequence[Mapping[str, int]] = ()
    buckets: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fill: Mapping[str, float] = field(default_factory=dict)
    check: bool = True

    def __post_init__(self) -> None:
        for name in ("limit", "after"):
            if getattr(self, name) < 1:
                raise OptionError(f"Specialise.{name} must be 1 or more: {getattr(self, name)!r}")
        for sizes in (*self.shapes, *({d: s} for d, all_ in self.buckets.items() for s in all_)):
            for dim, size in sizes.items():
                if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                    raise OptionError(
                        f"Specialise: the size of dimension {dim!r} must be a whole number above "
                        f"0, found {size!r}"
                    )


def symbolic_dims(inputs: Sequence[PortType]) -> dict[str, tuple[int, int]]:
    """Find the symbolic dimensions whose sizes can be read off the inputs.

    Args:
        inputs: the model's inputs.

    Returns:
        Dimension → input and axis that tell its size, for those that an input has as they are.
    """
    found: dict[str, tuple[int, int]] = {}
    for number, port in enumerate(inputs):
        for axis, dim in enumerate(port.type.shape):
            if is_name(dim):
                found.setdefault(dim, (number, axis))
    return found


@dataclass(frozen=True, slots=True)
class PlanUse:
    """One plan: the sizes it is for, and what became of it.

    Attributes:
        sizes: symbolic dimension → size.
        state: "ready", "building", "failed" (the VM answers) or "prepared" (ready, named in
            `Specialise.shapes`, never given up).
        uses: calls it answered.
        padded: of these, calls with fewer rows than it has.
        seconds: its compilation took.
        message: why it failed; else empty.
    """

    sizes: Mapping[str, int]
    state: Literal["ready", "building", "failed", "prepared"]
    uses: int = 0
    padded: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Specialisations:
    """What the plans of an executable did so far.

    Attributes:
        hits: calls that a plan answered.
        misses: calls that the VM answered.
        evictions: plans given up for others.
        built: plans compiled, those given up included.
        plans: those that there are, are being built, or failed.
        padding: "" or why nothing is padded any more.
        note: "" or why no further plan can be built.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    built: int = 0
    plans: tuple[PlanUse, ...] = ()
    padding: str = ""
    note: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.hits} hits, {self.misses} misses, {self.built} built, "
            f"{self.evictions} evictions"
        ]
        for plan in self.plans:
            sizes = ", ".join(f"{dim} = {size}" for dim, size in plan.sizes.items())
            told = f": {plan.message}" if plan.message else f", {plan.uses} uses"
            lines.append(f"  {sizes}: {plan.state}{told}")
        lines += [f"  {text}" for text in (self.padding, self.note) if text]
        return "\n".join(lines)


def check_outputs(outputs: Sequence[PortType], dims: Sequence[str]) -> None:
    """Refuse padding where the outputs' shapes do not follow from the inputs'.

    Args:
        outputs: the model's outputs.
        dims: symbolic dimensions of its inputs.

    Raises:
        OptionError: an output has another dimension, so that a padded one could not be cut.
    """
    for port in outputs:
        for dim in port.type.shape:
            if size_of(dim, dict.fromkeys(dims, 1)) is None:
                raise OptionError(
                    f"buckets: output {port.name!r} is {port.type}, and dimension {dim!r} does not "
                    f"follow from the inputs' ({', '.join(dims)}): nothing can be padded"
                )


def check_options(options: Specialise, inputs: Sequence[PortType]) -> None:
    """Refuse options that do not fit a model.

    Args:
        options: what was asked for.
        inputs: the model's inputs.

    Raises:
        OptionError: a dimension or input that the model does not have, or a plan without all sizes.
    """
    dims = symbolic_dims(inputs)
    for sizes in options.shapes:
        for dim in sizes:
            if dim not in dims:
                raise OptionError(f"shapes: no symbolic dimension {dim!r}: {choices(dim, dims)}")
        missing = [d for d in dims if d not in sizes]
        if missing:
            raise OptionError(
                f"shapes: {dict(sizes)} has no size for {', '.join(missing)}; a plan needs all of "
                f"{', '.join(dims)}"
            )
    for dim in options.buckets:
        if dim not in dims:
            raise OptionError(f"buckets: no symbolic dimension {dim!r}: {choices(dim, dims)}")
    names = [port.name for port in inputs]
    for name in options.fill:
        if name not in names:
            raise OptionError(f"fill: the model has no input {name!r}; {choices(name, names)}")
