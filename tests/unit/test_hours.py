"""Weekly hours: midnight, zones, and days on which clocks are changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from guiderail.model.policy import WeeklyHours
from guiderail.services.hours import is_within, next_beginning
from hypothesis import given, settings
from hypothesis import strategies as st

WORKDAYS = (0, 1, 2, 3, 4)
OFFICE = WeeklyHours(days=WORKDAYS, start=9 * 60, end=17 * 60)
BERLIN = WeeklyHours(days=WORKDAYS, start=9 * 60, end=17 * 60, zone="Europe/Berlin")
NIGHT = WeeklyHours(days=(4,), start=22 * 60, end=6 * 60)
ALWAYS = WeeklyHours()
NIGHT_IN_BERLIN = WeeklyHours(start=2 * 60 + 30, end=3 * 60, zone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("hours", "now", "within"),
    [
        # 2026-11-23 is a Monday
        (OFFICE, "2026-11-23T08:59:59", False),
        (OFFICE, "2026-11-23T09:00", True),
        (OFFICE, "2026-11-23T16:59:59", True),
        (OFFICE, "2026-11-23T17:00", False),
        (OFFICE, "2026-11-28T12:00", False),
        (ALWAYS, "2026-11-28T23:59:59", True),
        (ALWAYS, "2026-11-29T00:00", True),
        # the Friday's night ends on Saturday morning
        (NIGHT, "2026-11-27T21:59", False),
        (NIGHT, "2026-11-27T22:00", True),
        (NIGHT, "2026-11-28T05:59", True),
        (NIGHT, "2026-11-28T06:00", False),
        (NIGHT, "2026-11-28T22:00", False),
        (NIGHT, "2026-11-27T05:00", False),
        # Berlin is an hour ahead in winter, two in summer
        (BERLIN, "2026-11-23T08:00", True),
        (BERLIN, "2026-11-23T16:00", False),
        (BERLIN, "2026-07-20T07:00", True),
        (BERLIN, "2026-07-20T15:00", False),
        # on 2026-03-29 clocks in Berlin go from 02:00 to 03:00: there is no half past two
        (NIGHT_IN_BERLIN, "2026-03-28T01:30", True),
        (NIGHT_IN_BERLIN, "2026-03-29T00:59:59", False),
        (NIGHT_IN_BERLIN, "2026-03-29T01:00", False),
        # on 2026-10-25 they go from 03:00 to 02:00: half past two comes twice
        (NIGHT_IN_BERLIN, "2026-10-25T00:45", True),
        (NIGHT_IN_BERLIN, "2026-10-25T01:15", False),
        (NIGHT_IN_BERLIN, "2026-10-25T01:45", True),
        (NIGHT_IN_BERLIN, "2026-10-25T02:00", False),
    ],
)
def test_within(hours: WeeklyHours, now: str, within: bool) -> None:
    assert is_within([hours], at(now)) is within


@pytest.mark.parametrize(
    ("hours", "now", "begins"),
    [
        ([OFFICE], "2026-11-23T08:00", "2026-11-23T09:00"),
        ([OFFICE], "2026-11-23T09:00", "2026-11-24T09:00"),
        ([OFFICE], "2026-11-27T18:00", "2026-11-30T09:00"),
        ([BERLIN], "2026-11-23T06:00", "2026-11-23T08:00"),
        ([BERLIN], "2026-10-24T12:00", "2026-10-26T08:00"),  # across the change of clocks
        ([BERLIN], "2026-03-28T12:00", "2026-03-30T07:00"),
        ([NIGHT], "2026-11-27T22:00", "2026-12-04T22:00"),
        ([OFFICE, NIGHT], "2026-11-27T18:00", "2026-11-27T22:00"),
    ],
)
def test_the_next_beginning(hours: Sequence[WeeklyHours], now: str, begins: str) -> None:
    assert next_beginning(hours, at(now)) == at(begins)


def test_no_hours_are_never_within_and_never_begin() -> None:
    assert not is_within([], at("2026-11-23T12:00"))
    assert next_beginning([], at("2026-11-23T12:00")) is None
    assert next_beginning([WeeklyHours(days=())], at("2026-11-23T12:00")) is None


def test_hours_of_any_entry_do() -> None:
    assert is_within([NIGHT, OFFICE], at("2026-11-23T12:00"))


@settings(max_examples=150, deadline=None)
@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_hours_begin_when_they_say_they_do(
    now: datetime, days: tuple[int, ...], start: int, end: int, zone: str
) -> None:
    hours = [WeeklyHours(days=days, start=start, end=end, zone=zone)]
    begins = next_beginning(hours, now)
    assert begins is not None
    assert timedelta(0) < begins - now <= timedelta(days=8)
    long_enough = (end - start) % 1440 > 120 or end == start
    if long_enough:  # shorter ones may lie in the hour that a change of clocks leaves out
        assert is_within(hours, begins)
