"""The text of a lock: written by hand, so that it is the same everywhere; read as YAML.

Lists are kept short: equal neighbours are counted (``nn.relu*3``), positions are ranges, and names
stand below the path they share (``{/layer1/: [conv, relu]}``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import yaml

from byoc.errors import LockError
from byoc.placement.lock_values import Group, Lock

__all__ = ["SCHEMA", "SCHEMA_VERSION", "parse_lock", "render_lock"]

SCHEMA = "byoc.placement-lock"
"""What the first field of a lock says."""

SCHEMA_VERSION = 1
"""Changes when a field is removed, renamed or changes meaning; new fields do not count."""

# Texts that YAML reads as themselves without quotes.
_PLAIN = re.compile(r"[A-Za-z_/$][\w./$+*-]*")
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"})
_MARK = 4  # see byoc.partition.snapshot.identity.MARK_DIGITS

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# -- writing ---------------------------------------------------------------------------------------


def render_lock(lock: Lock) -> str:
    """Spell a lock as YAML.

    Args:
        lock: what to spell.

    Returns:
        The text; equal locks have equal texts, byte for byte.
    """
    head = {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "model": {"structure": lock.structure, "ops": lock.ops},
        "vendors": {name: lock.vendors[name] for name in sorted(lock.vendors)},
        "placement": lock.placement,
        "estimate": {"us": lock.us, "segments": lock.segments, "borders": lock.borders},
    }
    lines = ["# Where every op runs. Written by byoc; obeyed with --locked."]
    lines += [f"{key}: {_flow(value)}" for key, value in head.items()]
    lines.append("groups:" if lock.groups else "groups: []")
    for group in lock.groups:
        row: dict[str, Any] = {"place": group.place, "ops": _ranges(group.ops)}
        if group.segment:
            row |= {"segment": group.segment, "us": group.us}
        if group.function != "main":
            row["function"] = group.function
        row["kinds"] = _counted(group.kinds)
        if group.patterns:
            row["patterns"] = _counted(group.patterns)
        row |= {"names": _below(group.names), "marks": "".join(group.marks)}
        lines.append(f"- {_flow(row)}")
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    """A value in one line of YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(str(k))}: {_flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return _text(value)
    return "null" if value is None else repr(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # JSON's texts are YAML's, but for characters beyond the first plane.
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\U{ord(found[0]):08x}", quoted)


def _ranges(ops: Sequence[int]) -> str:
    """``(0, 1, 2, 5)`` → ``0-2,5``."""
    parts = []
    for _, run in groupby(enumerate(ops), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        first, last = numbers[0], numbers[-1]
        parts.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(parts)


def _counted(texts: Iterable[str]) -> list[str]:
    found: list[str] = []
    for text, run in groupby(texts):
        count = len(list(run))
        found.append(text if count == 1 else f"{text}*{count}")
    return found


def _below(names: Iterable[str]) -> list[object]:
    found: list[object] = []
    for path, run in groupby([_split(name) for name in names], key=lambda pair: pair[0]):
        ends = [end for _, end in run]
        if not path or len(ends) == 1:
            found += [f"{path}{end}" for end in ends]
        else:
            found.append({path: ends})
    return found


def _split(name: str) -> tuple[str, str]:
    path, slash, end = name.rpartition("/")
    return path + slash, end


# -- reading ---------------------------------------------------------------------------------------


def parse_lock(text: str, path: str) -> Lock:
    """Read the text of a lock.

    Args:
        text: YAML, as `render_lock` spells it or laid out by somebody else.
        path: opens every message.

    Returns:
        The lock.

    Raises:
        LockError: the text is no lock, of another schema version, or damaged.
    """
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise LockError(f"{path}{at}: damaged placement lock: {error.problem}") from error
    except yaml.YAMLError as error:
        raise LockError(f"{path}: damaged placement lock: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else type(data).__name__
    if found != SCHEMA:
        raise LockError(f"{path}: no placement lock: expected schema {SCHEMA!r}, found {found!r}")
    if data.get("version") != SCHEMA_VERSION:
        raise LockError(
            f"{path}: placement lock of schema version {data.get('version')}, this byoc reads "
            f"{SCHEMA_VERSION}; make the lock again with this version"
        )
    try:
        rows = data["groups"]
        lines = [k for k, line in enumerate(text.splitlines(), 1) if line.startswith("- ")]
        lines += [0] * (len(rows) - len(lines))  # laid out by somebody else
        groups = tuple([_group(row, path, line) for row, line in zip(rows, lines, strict=False)])
        lock = Lock(
            structure=str(data["model"]["structure"]),
            vendors={str(k): str(v) for k, v in data["vendors"].items()},
            placement=str(data["placement"]),
            groups=groups,
            us=_maybe(data["estimate"]["us"]),
            borders=int(data["estimate"]["borders"]),
            path=path,
        )
        count = int(data["model"]["ops"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LockError(f"{path}: damaged placement lock: {_words(error)}") from error
    ops = sorted(op for group in lock.groups for op in group.ops)
    if ops != list(range(count)):
        raise LockError(
            f"{path}: damaged placement lock: its groups hold {len(ops)} ops ({_odd(ops, count)}), "
            f"the model {count}"
        )
    return lock


def _words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _odd(ops: Sequence[int], count: int) -> str:
    """What is wrong with a list of positions."""
    for at, op in enumerate(ops):
        if op != at:
            return f"op {op} is there twice" if at and ops[at - 1] == op else f"op {at} is missing"
    return f"op {len(ops)} is missing" if len(ops) < count else f"op {count} is too many"


def _maybe(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _group(row: Mapping[str, Any], path: str, line: int) -> Group:
    try:
        ops = _positions(str(row["ops"]))
        group = Group(
            place=str(row["place"]),
            ops=ops,
            kinds=_uncounted(row["kinds"]),
            names=_full(row["names"]),
            marks=_marks(str(row["marks"])),
            patterns=_uncounted(row.get("patterns", ())),
            segment=str(row.get("segment", "")),
            function=str(row.get("function", "main")),
            us=_maybe(row.get("us")),
        )
        for key in ("kinds", "names", "marks", *(["patterns"] if group.place != "host" else [])):
            count = len(getattr(group, key))
            if count != len(ops):
                raise ValueError(f"{key} are of {count} ops, the group has {len(ops)}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        at = f"{path}:{line}" if line else path
        raise LockError(f"{at}: damaged placement lock: {_words(error)}") from error
    return group


def _positions(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _uncounted(texts: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        word, star, count = str(text).rpartition("*")
        found += [word] * int(count) if star and count.isdecimal() else [str(text)]
    return tuple(found)


def _full(names: Iterable[Any]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        if isinstance(name, Mapping):
            found += [f"{path}{end}" for path, ends in name.items() for end in ends]
        else:
            found.append(str(name))
    return tuple(found)


def _marks(text: str) -> tuple[str, ...]:
    return tuple(text[k : k + _MARK] for k in range(0, len(text), _MARK))
