"""How long, in words for people."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def spoken(duration: timedelta) -> str:
    """Return a duration in its largest whole unit, as ``1 day`` or ``3 minutes``."""
    seconds = max(0, int(duration.total_seconds()))
    size, unit = next(((s, u) for s, u in _UNITS if seconds >= s), _UNITS[-1])
    return counted(seconds // size, unit)


def counted(number: float, unit: str) -> str:
    """Return a number with its unit, as ``1 day`` or ``2 days``."""
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"
