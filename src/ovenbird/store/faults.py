"""The door for errors of databases: what SQLite says becomes one error of ours.

Source: sqlite.org, "Result and Error Codes": SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY,
SQLITE_CANTOPEN, SQLITE_BUSY; Python raises each of them as an ``OperationalError``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from ovenbird.domain.errors import Unrecorded

RESUME = "`ovenbird release resume` goes on with what stands still"


@contextmanager
def database_errors(where: object) -> Iterator[None]:
    """Say it in our words when a database cannot be read or written.

    Args:
        where: Its file or directory, for the error.

    Raises:
        Unrecorded: It cannot.
    """
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        words = str(getattr(error, "orig", error))
        mend = "Free space there" if "full" in words else "Look at it and at its disk"
        raise Unrecorded(
            f"The records in `{where}` cannot be kept: {words}", hint=f"{mend}; then {RESUME}"
        ) from error
