"""What a user demands of a placement: rules for single ops, limits for the whole.

A `Policy` is a value: made in Python, or read from YAML (`byoc.placement.policy_file`).
`constraints.py` applies it to the ops of a function.

    Policy(rules=(Rule("exclude", "acme", op="nn.softmax"),     every softmax off acme …
                  Rule("force", "acme", module="decoder")))     … but all of the decoder on it

Rules are read from top to bottom and the last one that matches an op wins::

    force X      the op is on X and nowhere else; what earlier rules said of it is forgotten
    prefer X     X takes the op if it can; an earlier `prefer` or `force` of another place is off
    exclude X    X does not take the op; an earlier `prefer` or `force` of X is off

A rule may name "host" like a vendor: `exclude host` means that some vendor must take the op.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property

from byoc.errors import OptionError, choices
from byoc.report.records import HOST, OpRecord

__all__ = ["ACTIONS", "Decision", "Policy", "Rule", "unused_rules"]

ACTIONS = ("prefer", "exclude", "force")

Globs = str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint on single ops: which backend must, should or must not take them.

    An op matches when it fits everything that is given (nothing given: every op). Each glob may be
    several, as a tuple: one must fit.

    Examples:
        >>> softmax = Rule("exclude", "acme", op="nn.softmax")
        >>> attention = Rule("prefer", "acme", module="encoder.layer.*.attention", dtype="int8")
        >>> attention.action, attention.place
        ('prefer', 'acme')

    Attributes:
        action: "prefer", "exclude" or "force".
        place: a backend: a vendor's name, or "host".
        op: glob over the Relax name without prefix ("nn.conv*").
        name: glob over the name in the model file.
        module: path of a module of the source model; "encoder.layer.0" is everything below it, "."
            and "/" are the same, a part may be a glob ("encoder.layer.*.attention").
        dtype: glob over the data type of its first result.
        where: file and line the rule is from, for messages.

    Raises:
        OptionError: an unknown action, or a value that is no text.
    """

    action: str
    place: str
    op: Globs = None
    name: Globs = None
    module: Globs = None
    dtype: Globs = None
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise OptionError(
                f"{self.at}unknown action {self.action!r}; {choices(str(self.action), ACTIONS)}"
            )
        if not isinstance(self.place, str) or not self.place:
            raise OptionError(
                f"{self.at}{self.action} takes a vendor's name or 'host', found {self.place!r}"
            )
        for key in ("op", "name", "module", "dtype"):
            value = getattr(self, key)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, key, value)
            texts = value if isinstance(value, tuple) else (value,)
            good = all(isinstance(text, str) and text for text in texts) and texts
            if value is not None and not good:
                raise OptionError(
                    f"{self.at}{key} of a rule must be a text or several, found {value!r}"
                )

    @property
    def at(self) -> str:
        """Where the rule is from, as the head of a message: "p.yaml:3: ", or nothing."""
        return f"{self.where}: " if self.where else ""

    def __str__(self) -> str:
        """``force npu (op nn.conv2d, dtype int8; p.yaml:3)``."""
        limits = [
            f"{key} {' or '.join(value) if isinstance(value, tuple) else value}"
            for key in ("op", "name", "module", "dtype")
            if (value := getattr(self, key)) is not None
        ]
        notes = "; ".join([", ".join(limits) or "every op", *([self.where] if self.where else [])])
        return f"{self.action} {self.place} ({notes})"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say of one op.

    Attributes:
        forced: the backend it must be on, or None.
        marks: backend → "prefer" or "exclude", when it is not forced.
        by: backend → the rule that said so.
    """

    forced: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    by: Mapping[str, Rule] = field(default_factory=dict)

    def verdict(self, place: str) -> str | None:
        """What holds for a vendor or "host": "force", "prefer", "exclude", or None."""
        if self.forced is not None:
            return "force" if place == self.forced else "exclude"
        return self.marks.get(place)

    def rule(self, place: str) -> Rule | None:
        """The rule behind `verdict`, or None."""
        return self.by.get(self.forced if self.forced is not None else place)


_FREE = Decision()


@dataclass(frozen=True)
class Policy:
    """What a user demands of a placement: rules for single ops, and limits of the whole.

    Examples:
        >>> policy = Policy(rules=(Rule("exclude", "dnnl", op="nn.relu"),), max_segments=4)
        >>> report = byoc.partition_model(model, vendors=["dnnl"], policy=policy).report
        >>> {op.place for op in report.ops if op.op == "nn.relu"}
        {'host'}

    Attributes:
        rules: read from top to bottom; the last one that matches an op wins.
        min_segment_flops: segments with less work stay on the host.
        min_segment_ops: segments with fewer ops stay on the host.
        max_segments: at most so many in the module.
        require_full_offload: an op on the host is an error.
        weight_budget: processor ("cpu", as the vendors name theirs) → bytes of weights that its
            segments may hold.

    Raises:
        OptionError: a value is not legal.
    """

    rules: tuple[Rule, ...] = ()
    min_segment_flops: float | None = None
    min_segment_ops: int | None = None
    max_segments: int | None = None
    require_full_offload: bool = False
    weight_budget: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise OptionError(
                    f"rules of a policy must be byoc.Rule values, found {type(rule).__name__}"
                )
        _number("min_segment_flops", self.min_segment_flops, (int, float))
        _number("min_segment_ops", self.min_segment_ops, (int,))
        _number("max_segments", self.max_segments, (int,))
        if not isinstance(self.require_full_offload, bool):
            raise OptionError(
                f"require_full_offload must be True or False, found {self.require_full_offload!r}"
            )
        if not isinstance(self.weight_budget, Mapping):
            raise OptionError(
                f"weight_budget maps processors to bytes, found {self.weight_budget!r}"
            )
        for processor, size in self.weight_budget.items():
            _number(f"weight_budget of {processor!r}", size, (int,))
        object.__setattr__(self, "weight_budget", dict(self.weight_budget))

    def check_places(self, vendors: Iterable[str]) -> None:
        """Check that the rules name backends of this run only.

        Args:
            vendors: names of the vendors of this run.

        Raises:
            OptionError: a rule names another one.
        """
        legal = {*vendors, HOST}
        for rule in self.rules:
            if rule.place not in legal:
                raise OptionError(
                    f"{rule.at}{rule.action} names {rule.place!r}, which is not among the vendors "
                    f"of this run; {choices(rule.place, legal)}"
                )

    def decide(self, op: str, names: Sequence[str], dtype: str) -> Decision:
        """Apply the rules to one op.

        Args:
            op: Relax name without prefix.
            names: its names in the source model; one must fit.
            dtype: data type of its first result.
        """
        found = [rule for rule, fits in self._matchers if fits(op, names, dtype)]
        return _fold(found) if found else _FREE

    def verdict(self, op: str, names: Sequence[str], dtype: str, vendor: str) -> str | None:
        """Apply the rules to one op and one backend.

        Args:
            op: Relax name without prefix.
            names: its names in the source model.
            dtype: data type of its first result.
            vendor: a vendor's name, or "host".

        Returns:
            "force", "prefer", "exclude", or None.
        """
        return self.decide(op, names, dtype).verdict(vendor)

    @cached_property
    def _matchers(self) -> list[tuple[Rule, Callable[[str, Sequence[str], str], bool]]]:
        return [(rule, _matcher(rule)) for rule in self.rules]


def _number(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if value is None:
        return
    if not isinstance(value, kinds) or isinstance(value, bool) or not value >= 0:  # type: ignore[operator]
        kind = "a whole number" if float not in kinds else "a number"
        raise OptionError(f"{name} must be {kind}, 0 or more, found {value!r}")


def _fold(rules: Iterable[Rule]) -> Decision:
    """The rules that match one op, in order, as one decision."""
    forced: str | None = None
    marks: dict[str, str] = {}
    by: dict[str, Rule] = {}
    for rule in rules:
        place = rule.place
        if rule.action == "force":
            forced, marks, by = place, {}, {place: rule}
        elif rule.action == "prefer":
            if forced == place:
                continue  # it is there already
            forced = None
            marks = {p: mark for p, mark in marks.items() if mark != "prefer"} | {place: "prefer"}
            by[place] = rule
        else:
            if forced is not None and forced != place:
                continue  # it cannot be there already
            forced = None
            marks[place] = "exclude"
            by[place] = rule
    return Decision(forced, marks, by)


def _matcher(rule: Rule) -> Callable[[str, Sequence[str], str], bool]:
    """Whether an op (kind, names, dtype) fits a rule."""
    op, name, dtype = _globs(rule.op), _globs(rule.name), _globs(rule.dtype)
    module = _module(rule.module)

    def fits(kind: str, names: Sequence[str], result: str) -> bool:
        return (
            (op is None or op(kind) is not None)
            and (dtype is None or dtype(result) is not None)
            and (name is None or any(name(text) is not None for text in names))
            and (module is None or any(module(_path(text)) is not None for text in names))
        )

    return fits


def _tuple(globs: Globs) -> tuple[str, ...] | None:
    return (globs,) if isinstance(globs, str) else globs


def _globs(globs: Globs) -> Callable[[str], re.Match[str] | None] | None:
    texts = _tuple(globs)
    return None if texts is None else re.compile("|".join(map(translate, texts))).match


def _path(name: str) -> str:
    """``/encoder/layer.0/MatMul`` → ``encoder/layer/0/MatMul``."""
    return "/".join(re.findall(r"[^./]+", name))


def _module(paths: Globs) -> Callable[[str], re.Match[str] | None] | None:
    """A glob never crosses a part of the path; what follows the path is free."""
    texts = _tuple(paths)
    if texts is None:
        return None
    wholes = []
    for text in texts:
        parts = [_part(part) for part in _path(text).split("/")]
        wholes.append(f"{'/'.join(parts)}(?:/|$)")
    return re.compile("|".join(wholes)).match


def _part(glob: str) -> str:
    found = {"*": "[^/]*", "?": "[^/]"}
    return "".join(found.get(letter) or re.escape(letter) for letter in glob)


def unused_rules(policy: Policy, ops: Iterable[OpRecord]) -> tuple[str, ...]:
    """Warn of every rule that matches no op of the model.

    Args:
        policy: whose rules are looked at.
        ops: the records of all ops.

    Raises:
        OptionError: such a rule forces: what it asks for cannot be met.
    """
    kinds = {(op.op, op.name, op.type.lstrip("(").partition("[")[0]) for op in ops}
    idle = [
        rule
        for rule, fits in policy._matchers
        if not any(fits(kind, (name,), dtype) for kind, name, dtype in kinds)
    ]
    warnings = []
    for rule in idle:
        hint = _hint(rule, {kind for kind, _, _ in kinds})
        text = f"{rule.at}the rule '{_bare(rule)}' matches no op of the model{hint}"
        if rule.action == "force":
            raise OptionError(text)
        warnings.append(text)
    return tuple(warnings)


def _bare(rule: Rule) -> str:
    return str(Rule(rule.action, rule.place, rule.op, rule.name, rule.module, rule.dtype))


def _hint(rule: Rule, kinds: set[str]) -> str:
    """What to say of a rule that matches nothing: the kinds of op there are, or how to list ops."""
    op = _globs(rule.op)
    if op is None or any(op(kind) for kind in kinds):
        return "; `byoc partition MODEL --ops` lists the ops with their names"
    first = rule.op if isinstance(rule.op, str) else (rule.op or ("",))[0]
    return f"; it has no such op: {choices(first, kinds)}"
