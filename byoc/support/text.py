"""Figures as people read them, and names that harm no terminal.

In: numbers of things, bytes, shares, seconds. Out: three digits and a unit. In: text of files. Out:
the same text, its control characters spelled out.
"""

from __future__ import annotations

import re

__all__ = ["change", "count", "percent", "printable", "seconds", "size"]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MINUS = "\N{MINUS SIGN}"


def printable(text: str, keep: str = "") -> str:
    r"""Spell out what would move a terminal's cursor, colour it, or turn the direction of text.

    Args:
        text: Perhaps a name out of a file that somebody else has written.
        keep: Control characters that are left as they are ("\n").

    Returns:
        The text; of an escape character are left the four characters ``\x1b``.
    """

    def spell(found: re.Match[str]) -> str:
        character = found.group()
        return character if character in keep else ascii(character)[1:-1]

    return _CONTROL.sub(spell, text)


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    step = 0
    while abs(value) >= base and step + 1 < len(units):
        value /= base
        step += 1
    return f"{value:.3g}{units[step]}" if step else f"{value:.0f}{units[0]}"


def count(value: int | None) -> str:
    """Print a number of things: ``1_230_000`` is ``"1.23 M"``; None is ``"?"``."""
    return "?" if value is None else _scaled(value, 1000, ("", " k", " M", " G", " T"))


def size(value: int | None) -> str:
    """Print bytes: ``1536`` is ``"1.5 KiB"``; None is ``"?"``."""
    return "?" if value is None else _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def percent(share: float | None) -> str:
    """Print a share: ``0.9949`` is ``"99.5 %"``, never rounded up to 100; None is ``"?"``."""
    if share is None:
        return "?"
    shown = min(round(share * 100, 1), 99.9) if share < 1 else 100.0
    return f"{shown:.1f} %"


def seconds(value: float | None) -> str:
    """Print seconds: ``0.00123`` is ``"1.23 ms"``, infinity (never built) ``"∞"``, None ``"?"``."""
    if value is None:
        return "?"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else f"{_MINUS}∞"
    size, sign = abs(value), _MINUS if value < 0 else ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if size >= scale * 0.9995:
            return f"{sign}{_digits(size / scale)} {unit}"
    return f"{sign}{_digits(size / 1e-6)} µs" if size >= 5e-9 else "0 µs"


def change(value: float | None) -> str:
    """Print a difference of seconds, signed: ``0.0018`` is ``"+1.8 ms"``; None is ``"?"``."""
    text = seconds(value)
    return f"+{text}" if value is not None and value > 0 and text != "0 µs" else text


def _digits(value: float) -> str:
    """Three digits, no exponent: ``"1.23"``, ``"12.3"``, ``"123"``, ``"1230"``."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):g}" if value >= 0.01 else f"{value:.2f}"
