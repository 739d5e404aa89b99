"""The machines that a user lets the search choose from, read from a YAML file.

Parameters
----------
      array.rows: [8, 16, 32]                  # an axis: one of these
      vector.lanes: [array.columns / 2, 16]    # values may be arithmetic over other parameters
      activation.word: array.rows              # follows: no axis
    where: [array.rows * array.columns <= 1024]
    weights: {resnet50: 2}                     # of models, by name; 1 where left out

A point is a tuple of positions, one on each axis; `Space.values` turns it into a machine.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from byoc.design import Knob, Value, Values
from byoc.dse.expressions import Expression, parse_expression, parse_number
from byoc.errors import OptionError, choices

__all__ = ["DesignAxis", "Point", "Space", "parse_space", "read_space"]

Point: TypeAlias = tuple[int, ...]

_KEYS = ("parameters", "where", "weights")
_MOST_VALUES = 1000


@dataclass(frozen=True, slots=True)
class DesignAxis:
    """One parameter that the search chooses.

    Attributes:
        name: Of the knob.
        choices: What it may be, in the user's order.
        ordered: Whether larger values mean more of something: it is no word.
    """

    name: str
    choices: tuple[Value | Expression, ...]
    ordered: bool


@dataclass(frozen=True, slots=True)
class Space:
    """All points, and how each becomes a machine.

    Attributes:
        axes: What is chosen.
        follows: Knobs that are worked out of others or fixed.
        order: Names of axes and followers, each after what it reads.
        where: What every machine must meet.
        defaults: Values of the knobs that the space leaves alone.
        weights: Of models.
    """

    axes: tuple[DesignAxis, ...]
    follows: Mapping[str, Value | Expression]
    order: tuple[str, ...]
    where: tuple[Expression, ...]
    defaults: Values
    weights: Mapping[str, float]

    @property
    def size(self) -> int:
        """Number of points, those that `where` forbids included."""
        return math.prod(len(axis.choices) for axis in self.axes)

    def values(self, point: Point) -> Values | None:
        """Return the machine at a point; None where `where` forbids it.

        Args:
            point: A position on each axis.

        Raises:
            OptionError: An expression has no whole value there.
        """
        chosen: dict[str, Value | Expression] = dict(self.follows)
        for axis, position in zip(self.axes, point, strict=True):
            chosen[axis.name] = axis.choices[position]
        found = dict(self.defaults)
        for name in self.order:
            value = chosen[name]
            found[name] = value(found) if isinstance(value, Expression) else value
        return found if all(condition(found) for condition in self.where) else None

    def points(self, most: int, seed: int = 0) -> Iterator[Point]:
        """Yield every point once, or a sample where there are more than `most`.

        Args:
            most: How many at most.
            seed: Of the sample.
        """
        ranges = [range(len(axis.choices)) for axis in self.axes]
        if self.size <= most:
            yield from itertools.product(*ranges)
            return
        generator = random.Random(seed)
        seen: set[Point] = set()
        for _ in range(most):
            point = tuple(generator.choice(r) for r in ranges)
            if point not in seen:
                seen.add(point)
                yield point

    def axes_of(self, knob: str) -> tuple[int, ...]:
        """Return the axes that move a knob: its own, or those that its expression reads.

        Args:
            knob: Name of the knob.
        """
        wanted, found = [knob], set()
        while wanted:
            name = wanted.pop()
            for number, axis in enumerate(self.axes):
                if axis.name == name:
                    found.add(number)
            value = self.follows.get(name)
            if isinstance(value, Expression):
                wanted.extend(value.names)
        return tuple(sorted(found))


def read_space(path: Path, knobs: Mapping[str, Knob]) -> Space:
    """Return the space that a file describes.

    Args:
        path: A YAML file.
        knobs: What the vendor lets one choose.

    Raises:
        OptionError: It cannot be read, or something in it is not legal; the message says what.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise OptionError(f"cannot read the space {path}: {error}") from error
    return parse_space(content, knobs, str(path))


def parse_space(content: Any, knobs: Mapping[str, Knob], where: str = "space") -> Space:
    """Return the space that a mapping describes.

    Args:
        content: What the file holds.
        knobs: What the vendor lets one choose.
        where: Its name, for messages.

    Raises:
        OptionError: Something in it is not legal; the message says what, and what is.
    """
    if not isinstance(content, dict):
        raise OptionError(
            f"{where}: expected a mapping with the key 'parameters', found {content!r}"
        )
    for key in content:
        if key not in _KEYS:
            raise OptionError(f"{where}: unknown key {key!r}: {choices(str(key), _KEYS)}")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise OptionError(f"{where}: 'parameters' is empty: name at least one, with its values")
    axes: list[DesignAxis] = []
    follows: dict[str, Value | Expression] = {}
    for name, given in parameters.items():
        place = f"{where}: {name}"
        knob = _knob(name, knobs, where)
        if isinstance(given, list):
            axis = _axis(name, given, knob, place)
            if len(axis.choices) == 1:
                follows[name] = axis.choices[0]
            else:
                axes.append(axis)
        else:
            follows[name] = _entry(given, knob, place)
    if not axes:
        raise OptionError(f"{where}: nothing to choose: every parameter has one value")
    read = {name: _names(value) for name, value in follows.items()}
    read.update({a.name: frozenset().union(*map(_names, a.choices)) for a in axes})
    conditions = _conditions(content.get("where"), where)
    for names in (*read.values(), *(c.names for c in conditions)):
        for other in sorted(names):
            _knob(other, knobs, where)
    return Space(
        tuple(axes),
        follows,
        _in_order(read, where),
        conditions,
        {name: knob.default for name, knob in knobs.items()},
        _weights(content.get("weights"), where),
    )


def _knob(name: object, knobs: Mapping[str, Knob], where: str) -> Knob:
    if name not in knobs:
        raise OptionError(f"{where}: unknown parameter {name!r}: {choices(str(name), knobs)}")
    return knobs[str(name)]


def _axis(name: str, given: list[Any], knob: Knob, place: str) -> DesignAxis:
    if not given:
        raise OptionError(f"{place}: the list of values is empty")
    if len(given) > _MOST_VALUES:
        raise OptionError(f"{place}: {len(given)} values, at most {_MOST_VALUES} are legal")
    entries = [_entry(item, knob, place) for item in given]
    shown = [entry.text if isinstance(entry, Expression) else entry for entry in entries]
    if len(set(shown)) != len(shown):
        raise OptionError(f"{place}: a value stands in the list twice")
    return DesignAxis(name, tuple(entries), not knob.words)


def _entry(item: Any, knob: Knob, place: str) -> Value | Expression:
    """One value: a word, a number, or arithmetic."""
    if knob.words:
        if item not in knob.words:
            raise OptionError(f"{place}: {item!r} is not legal; {choices(str(item), knob.words)}")
        return str(item)
    if isinstance(item, bool) or not isinstance(item, (int, str)):
        raise OptionError(f"{place}: expected a whole number or arithmetic, found {item!r}")
    if isinstance(item, int) or (item.strip()[:1].isdigit() and item.strip().isalnum()):
        return parse_number(item, place)
    return parse_expression(item, place)


def _names(value: Value | Expression) -> frozenset[str]:
    return value.names if isinstance(value, Expression) else frozenset()


def _conditions(given: Any, where: str) -> tuple[Expression, ...]:
    given = [given] if isinstance(given, str) else given or []
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise OptionError(f"{where}: 'where' must be a list of comparisons, found {given!r}")
    return tuple(parse_expression(item, f"{where}: where") for item in given)


def _weights(given: Any, where: str) -> dict[str, float]:
    given = given or {}
    good = isinstance(given, dict) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1e9
        for v in given.values()
    )
    if not good:
        raise OptionError(f"{where}: 'weights' must map models to numbers above 0, found {given!r}")
    return {str(name): float(weight) for name, weight in given.items()}


def _in_order(read: Mapping[str, frozenset[str]], where: str) -> tuple[str, ...]:
    """Names so that each comes after what it reads."""
    done: list[str] = []
    trail: list[str] = []

    def visit(name: str) -> None:
        if name in trail:
            circle = " → ".join([*trail[trail.index(name) :], name])
            raise OptionError(f"{where}: parameters follow each other in a circle: {circle}")
        if name in done or name not in read:
            return
        trail.append(name)
        for other in sorted(read[name]):
            visit(other)
        done.append(trail.pop())

    for name in read:
        visit(name)
    return tuple(done)
