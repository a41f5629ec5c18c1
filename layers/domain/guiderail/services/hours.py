"""Weekly hours: whether a moment is within them, and when they begin next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from guiderail.model.policy import WeeklyHours


def is_within(hours: Iterable[WeeklyHours], now: datetime) -> bool:
    """Whether a moment is within one of the hours; they may run past midnight."""
    return any(_is_within(each, now) for each in hours)


def next_beginning(hours: Iterable[WeeklyHours], now: datetime) -> datetime | None:
    """When hours begin next after a moment; None where there are none."""
    beginnings = [begin for each in hours for begin in _beginnings(each, now) if begin > now]
    return min(beginnings, default=None)


def _is_within(hours: WeeklyHours, now: datetime) -> bool:
    local = now.astimezone(ZoneInfo(hours.zone))
    minute = local.hour * 60 + local.minute
    yesterday = (local.weekday() - 1) % 7
    if hours.start < hours.end:
        return local.weekday() in hours.days and hours.start <= minute < hours.end
    return (local.weekday() in hours.days and minute >= hours.start) or (
        yesterday in hours.days and minute < hours.end
    )


def _beginnings(hours: WeeklyHours, now: datetime) -> Iterable[datetime]:
    zone = ZoneInfo(hours.zone)
    today = now.astimezone(zone).date()
    for offset in range(8):
        day = today + timedelta(days=offset)
        if day.weekday() in hours.days:
            begin = time(hours.start // 60, hours.start % 60)
            yield datetime.combine(day, begin, zone)
