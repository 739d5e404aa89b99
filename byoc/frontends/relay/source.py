"""Make Relay text ready for the grammar: names as they were declared, no comments inside comments.

Two things a context-free grammar cannot tell. TVM prints the names of the framework as they are,
so that ``%input.1``, ``%v/0/w``, ``%x:0`` and ``%x-in`` are variables where they were declared and
a field, a division, a type or a difference where they were not::

    fn (%input.1: Tensor[(4), float32], %t: (float32, float32)) { add(%input.1, %t.1) }
         declared: one name                        one name ──────┘        field 1 of %t

Characters of declared names that mean something else are replaced by stand-ins, one for one, which
keeps every line and column; `declared_name` undoes it. Comments inside comments become spaces.
"""

from __future__ import annotations

import re

from byoc.frontends.relay.syntax import At, PlaceError

__all__ = ["declared_name", "ready"]

_STAND_INS = {char: chr(0xE000 + number) for number, char in enumerate("./:-@#[]+~|^&")}
_TO = str.maketrans(_STAND_INS)
_FROM = str.maketrans({stand_in: char for char, stand_in in _STAND_INS.items()})

_CHARS = r"[\w$./:@#\[\]+~|^&\-]"
_NAME = rf"%([A-Za-z_]{_CHARS}*?)"
_DTYPE = r"(?:Tensor\[|(?:float|bfloat|int|uint)\d+\b|bool\b)"
_TYPE = r"(?:Tensor\[|fn\b|\(|ref\(|meta\[|(?:float|bfloat|int|uint)\d+\b|bool\b|[A-Z]\w*\b|_\b)"
_DECLARED = re.compile(
    rf"{_NAME}(?=\s*(?:\{{\s*[a-z_]+\s*=|:\s+{_TYPE}|:{_DTYPE}))"
    rf"|\blet\s+{_NAME}(?=\s*(?:=[^=]|:\s))|^[ \t]*{_NAME}(?=\s*=[^=])",
    re.M,
)
_PLAIN = re.compile(r"[A-Za-z_][\w$]*(?:(?:::|[./](?=[A-Za-z_]))[\w$]+)*")
"""What the grammar's LOCAL takes for a name anyway."""

_RUN = re.compile(rf"%[A-Za-z_]{_CHARS}*")
_LONGEST = 400
"""Characters of a name that may hold special ones."""

_SKIPPED = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*|\*/')


def ready(program: str) -> str:
    """Return the text as the grammar reads it, of the same length.

    Args:
        program: Relay text without its metadata section.

    Raises:
        PlaceError: The text holds a character that stands for another.
    """
    found = re.search("[\ue000-\ue00f]", program)
    if found is not None:
        line = program.count("\n", 0, found.start()) + 1
        raise PlaceError(
            At(line, found.start() - program.rfind("\n", 0, found.start())),
            f"unexpected {found[0]!r}",
        )
    return _with_names(_without_nested(program))


def declared_name(text: str) -> str:
    """Return a name or text of the file as it was before `ready`."""
    return text.translate(_FROM)


def _without_nested(program: str) -> str:
    """Comments that hold comments as spaces; others stay, a number's type stands in one."""
    pieces, depth, start, deepest, kept = [], 0, 0, 0, 0
    for match in _SKIPPED.finditer(program):
        mark = match[0]
        if mark == "/*":
            start = match.start() if depth == 0 else start
            depth += 1
            deepest = max(deepest, depth)
        elif mark == "*/" and depth:
            depth -= 1
            if depth == 0 and deepest > 1:
                inside = program[start : match.end()]
                pieces += [program[kept:start], re.sub(r"[^\n]", " ", inside)]
                kept = match.end()
            deepest = deepest if depth else 0
    return "".join([*pieces, program[kept:]])


def _with_names(program: str) -> str:
    """Declared names that are no plain ones, wherever they stand, with stand-ins."""
    names = {match[1] or match[2] or match[3] for match in _DECLARED.finditer(program)}
    special = {n for n in names if len(n) <= _LONGEST and not _PLAIN.fullmatch(n)}
    if not special:
        return program
    lengths = sorted({len(name) for name in names if len(name) <= _LONGEST}, reverse=True)

    def spelled(match: re.Match[str]) -> str:
        run = match[0][1:]
        for length in lengths:  # the longest first: %a.1 is not %a and a field
            name = run[:length]
            if name in names and not re.match(r"[\w$]", run[length : length + 1]):
                return f"%{name.translate(_TO) if name in special else name}{run[length:]}"
        return match[0]

    return _RUN.sub(spelled, program)
