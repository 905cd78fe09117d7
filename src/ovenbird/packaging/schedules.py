"""When jobs run: calendar events for systemd's timers, plain words for cron.

    daily                     Mon..Fri 09:00          *-*-1..7 18:00:00
    Mon,Fri *-01/2-01 *:0/5   2026-12-24 UTC

Source: systemd.time(7), "Calendar events"; crontab(5), "Extensions" of Vixie's and cronie's.
"""

from __future__ import annotations

import re

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Service

OF_CRON = ("hourly", "daily", "weekly", "monthly")
_WORDS = {
    *OF_CRON, "minutely", "yearly", "annually", "quarterly", "semiannually",
}  # fmt: skip
_DAY = (
    r"(?:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?"
    r"|sun(?:day)?)"
)
_DAYS = rf"{_DAY}(?:(?:,|\.\.|-){_DAY})*,?"
_ONE = r"(?:\*|\d+(?:\.\d+)?(?:\.\.\d+(?:\.\d+)?)?)(?:/\d+(?:\.\d+)?)?"
_SOME = rf"{_ONE}(?:,{_ONE})*"
_DATE = rf"(?:{_SOME}-)?{_SOME}[-~]{_SOME}"
_TIME = rf"{_SOME}:{_SOME}(?::{_SOME})?"
_ZONE = r"(?:UTC|[A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)"
_EVENT = re.compile(
    rf"(?=\S)(?:(?i:{_DAYS}))?(?:(?:^|(?<=\S) +){_DATE})?(?:(?:^|(?<=\S) +){_TIME})?"
    rf"(?:(?<=\S) +{_ZONE})?"
)


def check(service: Service) -> None:
    """Refuse what is not a calendar event.

    Raises:
        InvalidRequest: systemd would not take it.
    """
    text = service.schedule.strip()
    word, _, zone = text.partition(" ")
    if word.lower() in _WORDS and (not zone or re.fullmatch(_ZONE, zone.strip())):
        return
    if not _EVENT.fullmatch(text):
        raise InvalidRequest(
            f"services.{service.name}: `{service.schedule}` is not a schedule",
            hint="Write it as `daily`, `Mon..Fri 09:00` or `*-*-* 03:00:00`; see systemd.time(7)",
        )


def cron_word(service: Service) -> str:
    """Return cron's word for a schedule, as ``@daily``.

    Raises:
        InvalidRequest: Only systemd can say it.
    """
    if service.schedule not in OF_CRON:
        words = ", ".join(f"`{word}`" for word in OF_CRON)
        raise InvalidRequest(
            f"services.{service.name}: `{service.schedule}` is a schedule for systemd alone",
            hint=f"With `init: [sysv]` or `[upstart]` a schedule is one of {words}",
        )
    return f"@{service.schedule}"
