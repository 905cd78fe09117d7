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
    rf"(?=\S)(?P<days>(?i:{_DAYS}))?(?:(?:^|(?<=\S) +)(?P<date>{_DATE}))?"
    rf"(?:(?:^|(?<=\S) +)(?P<time>{_TIME}))?(?:(?<=\S) +{_ZONE})?"
)
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The first and the last number of each part. Source: systemd, src/shared/calendarspec.c,
# calendarspec_valid; a day before the end of a month is at most the 28th (measured with 252).
_OF_DATES = ((1, 31), (1, 12), (1970, 2199))  # day, month, year
_LAST_DAYS = (28, 1)  # they are counted, and repeated, towards the month's end
_OF_TIMES = ((0, 23), (0, 59), (0, 59.999999))  # hour, minute, second


def check(service: Service) -> None:
    """Refuse what is not a calendar event.

    Raises:
        InvalidRequest: systemd would not take it.
    """
    text = service.schedule.strip()
    word, _, zone = text.partition(" ")
    if word.lower() in _WORDS and (not zone or re.fullmatch(_ZONE, zone.strip())):
        return
    found = _EVENT.fullmatch(text)
    if found is None or not _comes(found):
        raise InvalidRequest(
            f"services.{service.name}: `{service.schedule}` is not a schedule",
            hint="Write it as `daily`, `Mon..Fri 09:00` or `*-*-* 03:00:00`; see systemd.time(7)",
        )


def _comes(event: re.Match[str]) -> bool:
    """Tell whether an event's days, date and time are ones that there are."""
    dates = re.split("[-~]", event["date"] or "")[::-1]
    bounds = (_LAST_DAYS, *_OF_DATES[1:]) if "~" in (event["date"] or "") else _OF_DATES
    times = (event["time"] or "").split(":")
    parts = [*zip(dates, bounds, strict=False), *zip(times, _OF_TIMES, strict=False)]
    return _days_come(event["days"] or "") and all(
        _number_comes(one, *within) for part, within in parts for one in part.split(",") if one
    )


def _days_come(days: str) -> bool:
    """Tell whether the ranges of days go forward: the week begins on Monday."""
    for one in days.lower().split(","):
        numbers = [_WEEK.index(day[:3]) for day in re.split(r"\.\.|-", one) if day]
        if numbers != sorted(numbers):
            return False
    return True


def _number_comes(text: str, first: float, last: float) -> bool:
    """Tell whether a number, a range or a repetition is within bounds; ``*`` stands alone."""
    values, _, step = text.partition("/")
    if values == "*":
        return not step
    numbers = [float(number) for number in values.split("..")]
    in_order = numbers == sorted(numbers)
    if step and len(numbers) == 1:  # it comes at least twice
        numbers.append(numbers[0] + float(step) * (1 if first < last else -1))
    low, high = sorted((first, last))
    return in_order and all(low <= n <= high for n in numbers) and (not step or float(step) > 0)


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
