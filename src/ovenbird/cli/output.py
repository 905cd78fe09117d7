"""What goes to stdout: one JSON document, or tables and lines for people.

With ``--json`` stdout holds exactly one JSON document: the answer, or the error that came
instead of one, as ``{"error": ..., "message": ..., "hint": ..., "facts": ...}``. Words,
and the two lines ``error:`` and ``hint:``, go to stderr in any case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovenbird.domain.names import ClusterName, ServerGroupName

ANSWERED = "ovenbird.answered"  # in the context's meta: the JSON document was printed
WIDE = 240  # columns, where there is no terminal: nothing is cut or wrapped
STYLES = {
    "promoted": "green",
    "serves": "green",
    "healthy": "green",
    "running": "yellow",
    "waiting": "yellow",
    "rolled back": "red",
    "failed": "red",
    "unhealthy": "red",
}


def answer(value: Any) -> None:
    """Print the one JSON document."""
    click.echo(json.dumps(to_data(value), indent=2, ensure_ascii=False))
    click.get_current_context().meta[ANSWERED] = True


def line(value: Any) -> str:
    """Return a value as one line of JSON, for what goes on without end."""
    return json.dumps(to_data(value), ensure_ascii=False)


def is_answered() -> bool:
    """Tell whether the JSON document was printed."""
    return bool(click.get_current_context().meta.get(ANSWERED))


def to_data(value: Any) -> Any:
    """Return a value of the domain as what JSON has: names and times as text, in UTC."""
    if is_dataclass(value) and not isinstance(value, ClusterName | ServerGroupName | type):
        return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_data(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people; without rows nothing but the header.

    Args:
        header: One word for each column.
        rows: As many values in each.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for word in header:
        found.add_column(word, no_wrap=True, header_style="bold")
    for row in rows:
        found.add_row(*(Text(str(cell), style=STYLES.get(str(cell), "")) for cell in row))
    with console.capture() as drawn:
        console.print(found)
    for one in drawn.get().splitlines():
        click.echo(one.rstrip())


def words(text: str) -> None:
    """Say something to the person; it is no data."""
    click.echo(text, err=True)


def at(moment: datetime | None) -> str:
    """Return a time for people."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "-"


def lasted(begun: datetime, ended: datetime | None) -> str:
    """Return how long something took."""
    return f"{(ended - begun).total_seconds():.1f} s" if ended else "-"


def spoken(word: str) -> str:
    """Return a phase or a verdict as a person says it."""
    return word.replace("_", " ")
