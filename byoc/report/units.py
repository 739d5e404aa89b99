"""Figures as people read them."""

from __future__ import annotations

__all__ = ["count", "percent", "size"]


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    step = 0
    while abs(value) >= base and step + 1 < len(units):
        value /= base
        step += 1
    return f"{value:.3g}{units[step]}" if step else f"{value:.0f}{units[0]}"


def count(value: int | None) -> str:
    """``1_230_000`` is ``"1.23 M"``; None is ``"?"``."""
    return "?" if value is None else _scaled(value, 1000, ("", " k", " M", " G", " T"))


def size(value: int | None) -> str:
    """Bytes: ``1536`` is ``"1.5 KiB"``; None is ``"?"``."""
    return "?" if value is None else _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def percent(share: float | None) -> str:
    """``0.9949`` is ``"99.5 %"``, never rounded up to 100; None is ``"?"``."""
    if share is None:
        return "?"
    shown = min(round(share * 100, 1), 99.9) if share < 1 else 100.0
    return f"{shown:.1f} %"
