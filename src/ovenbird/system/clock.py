"""The one clock of the program."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The :class:`ovenbird.domain.ports.Clock` of this host."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        return datetime.now(tz=UTC)  # noqa: TID251 - this is the clock

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: TID251 - this is the clock
