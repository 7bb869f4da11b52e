"""Dates: text, calendars, time zones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.dates import Date

BERLIN, NEW_YORK, KATHMANDU = "Europe/Berlin", "America/New_York", "Asia/Kathmandu"


def ms(*moment, hours=0):
    return round(
        (datetime(*moment, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) - hours * 3.6e6
    )


def day(*moment, hours=0):
    return {"type": "Date", "value": ms(*moment, hours=hours)}


def span(start, end):
    return {"type": "DateRange", "dates": [start, end]}


WRITTEN = [
    ("2019", None, ms(2019, 1, 1)), ("2019-3", None, ms(2019, 3, 1)), ("2019-03-9", None, ms(2019, 3, 9)),
    ("2020-366", None, ms(2020, 12, 31)), ("2020-W53-5", None, ms(2021, 1, 1)), ("2019-03-09T6", None, ms(2019, 3, 9, 6)),
    ("2019-03-09T06:07", None, ms(2019, 3, 9, 6, 7)), ("2019-03-09T06:07:08.1239", None, ms(2019, 3, 9, 6, 7, 8, 123000)),
    ("2019-03-09T06:07Z", BERLIN, ms(2019, 3, 9, 6, 7)), ("2019-03-09T06:07+01:00", None, ms(2019, 3, 9, 5, 7)),
    ("2019-07-01", BERLIN, ms(2019, 7, 1, hours=2)), ("2019-01-01", KATHMANDU, ms(2019, 1, 1, hours=5.75)),
    ("1965-01-01", None, ms(1965, 1, 1)), (-1500, None, -1500), (12.9, None, 12),
]  # fmt: skip
VALUES = [
    (lambda ee: ee.Date.fromYMD(2024, 2, 29), day(2024, 2, 29)),
    (lambda ee: ee.Date.fromYMD(2024, 7, 1, NEW_YORK), day(2024, 7, 1, hours=-4)),
    (lambda ee: ee.Date("2024-02-29").millis(), ms(2024, 2, 29)),
    (lambda ee: ee.Date("2024-01-31").advance(1, "month"), day(2024, 2, 29)),
    (lambda ee: ee.Date("2024-02-29").advance(-1, "years"), day(2023, 2, 28)),
    (lambda ee: ee.Date("2024-02-28").advance(2, "day"), day(2024, 3, 1)),
    (lambda ee: ee.Date("2024-02-28").advance(1.5, "day"), day(2024, 2, 29, 12)),
    (lambda ee: ee.Date("2024-02-28").advance(-2, "weeks"), day(2024, 2, 14)),
    (lambda ee: ee.Date("2024-02-28").advance(90, "minute"), day(2024, 2, 28, 1, 30)),
    (lambda ee: ee.Date("2024-03-30T12:00", BERLIN).advance(1, "day", BERLIN), day(2024, 3, 31, 10)),
    (lambda ee: ee.Date("2024-03-30T12:00", BERLIN).advance(24, "hour", BERLIN), day(2024, 3, 31, 11)),
    (
        lambda ee: ee.Date("2024-03-30T02:30", BERLIN).advance(1, "day", BERLIN),
        day(2024, 3, 31, 1, 30),
    ),  # the clocks skip it
    (lambda ee: ee.Date("2024-03-15").difference("2024-03-01", "day"), 14),
    (lambda ee: ee.Date("2024-03-01").difference("2024-03-15", "week"), -2),
    (lambda ee: ee.Date("2025-01-01").difference("2024-01-01", "year"), 366 / 365.2425),
    (lambda ee: ee.Date("2024-02-01").difference("2024-01-01", "months"), pytest.approx(31 / (365.2425 / 12))),
    (lambda ee: ee.Date.unitRatio("week", "day"), 7),
    (lambda ee: ee.Date.unitRatio("second", "minute"), 1 / 60),
    (lambda ee: ee.Date.unitRatio("year", "month"), pytest.approx(12)),
    (lambda ee: ee.Date("2021-01-03").get("week"), 53),
    (lambda ee: ee.Date("2021-01-03T23:59:58").get("second"), 58),
    (lambda ee: ee.Date("2021-01-03T23:30").get("day", BERLIN), 4),
    (lambda ee: ee.Date("2021-01-01").getFraction("year"), 0),
    (lambda ee: ee.Date("2021-02-15").getFraction("month"), 0.5),
    (lambda ee: ee.Date("2021-03-28T12:00", BERLIN).getFraction("day", BERLIN), 11 / 23),  # a day of 23 hours
    (lambda ee: ee.Date("2021-02-15T10:20").getRange("month"), span(ms(2021, 2, 1), ms(2021, 3, 1))),
    (lambda ee: ee.Date("2021-02-14").getRange("week"), span(ms(2021, 2, 8), ms(2021, 2, 15))),
    (lambda ee: ee.Date("2021-07-01T01:00").getRange("day", NEW_YORK), span(ms(2021, 6, 30, 4), ms(2021, 7, 1, 4))),
    (
        lambda ee: ee.Date("2021-02-15T10:20:30.5").getRange("minute"),
        span(ms(2021, 2, 15, 10, 20), ms(2021, 2, 15, 10, 21)),
    ),
    (lambda ee: ee.Date("2021-12-31").getRelative("day", "year"), 364),
    (lambda ee: ee.Date("2021-12-31").getRelative("month", "year"), 11),
    (lambda ee: ee.Date("2021-03-10").getRelative("day", "week"), 2),
    (lambda ee: ee.Date("2021-03-10T05:06").getRelative("minute", "day"), 306),
    (lambda ee: ee.Date("2021-03-10").getRelative("year", "day"), 0),
    (lambda ee: ee.Date("2021-03-31").update(month=2), day(2021, 2, 28)),
    (lambda ee: ee.Date("2021-03-31T10:00").update(hour=1, second=9), day(2021, 3, 31, 1, 0, 9)),
    (lambda ee: ee.Date("2021-07-01").update(hour=0, timeZone=BERLIN), day(2021, 6, 30, 22)),
]
FORMATS = [
    (None, "2005-04-03T14:05:06"), ("YYYY-MM-dd", "2005-04-03"), ("y M d", "2005 4 3"), ("yy", "05"), ("D", "93"), ("DDDD", "0093"),
    ("MMM MMMM", "Apr April"), ("E EEEE e", "Sun Sunday 7"), ("xxxx ww w", "2005 13 13"), ("CC G", "20 AD"), ("HH:mm:ss", "14:05:06"),
    ("h K k a", "2 2 14 PM"), ("S SSS SSSS", "0 078 0780"), ("'day' d", "day 3"), ("d 'o''clock'", "3 o'clock"), ("''yy''", "'05'"),
    ("Z ZZ ZZZ z", "+0000 +00:00 UTC UTC"), ("YYYY/MM_dd.", "2005/04_03."),
]  # fmt: skip
ZONED = [
    (NEW_YORK, "HH Z", "10 -0400"), (NEW_YORK, "z zzzz", "EDT Eastern Daylight Time"), (KATHMANDU, "HH:mm ZZ", "19:50 +05:45"),
    (BERLIN, "ZZZ", "Europe/Berlin"), ("Etc/GMT+8", "HH", "06"), ("+02:00", "HH", "16"),
]  # fmt: skip
PARSED = [
    ("yyyyMMdd", "20210430", ms(2021, 4, 30)), ("yyyy-MM-dd", "2021-4-3", ms(2021, 4, 3)), ("MM/dd/yy", "12/31/99", ms(1999, 12, 31)),
    ("dd MMM yyyy", "3 april 2021", ms(2021, 4, 3)), ("yyyyDDD", "2020061", ms(2020, 3, 1)), ("yyyy", "2020", ms(2020, 1, 1)),
    ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2021-04-03T10:11:12.345", ms(2021, 4, 3, 10, 11, 12, 345000)),
    ("yyyy-MM-dd hh:mm a", "2021-04-03 12:30 AM", ms(2021, 4, 3, 0, 30)), ("yyyy-MM-dd HHZ", "2021-04-03 10+0230", ms(2021, 4, 3, 7, 30)),
    ("HH:mm", "10:30", ms(1970, 1, 1, 10, 30)), ("MM-dd", "02-29", ms(2000, 2, 29)),
]  # fmt: skip
REFUSED = [
    (lambda ee: ee.Date("yesterday"), "Bad date/time 'yesterday'"),
    (lambda ee: ee.Date("2021-02-29"), "2021-02-29"),
    (lambda ee: ee.Date("2021-366"), "2021-366"),
    (lambda ee: ee.Date("2021", "Mars/Olympus"), "'Mars/Olympus' is not recognised"),
    (lambda ee: ee.Date("2021", "../etc/passwd"), "is not recognised"),
    (lambda ee: ee.Date("2024-03-31T02:30", BERLIN), "offset transition"),
    (lambda ee: ee.Date.fromYMD(2021, 13, 1), "month"),
    (lambda ee: ee.Date("2021").advance(0.5, "year"), "fraction of a year"),
    (lambda ee: ee.Date("2021").advance(1e5, "year"), "9999"),
    (lambda ee: ee.Date(1e18).format(), "9999"),
    (lambda ee: ee.Date("2021").get("fortnight"), "Unknown unit 'fortnight'"),
    (lambda ee: ee.Date("2021").update(day=32), "day"),
    (lambda ee: ee.Date("2021").format("b"), "Illegal pattern component: b"),
    (lambda ee: ee.Date("2021").format("'open"), "Invalid pattern"),
    (lambda ee: ee.Date("2021").format("z", KATHMANDU), "not emulated"),
    (lambda ee: ee.Date.parse("yyyy-MM-dd", "2021/04/03"), "does not match"),
    (lambda ee: ee.Date.parse("yyyy-MM-dd", "2021-02-30"), "2021-02-30"),
    (lambda ee: ee.Date.parse("xxxx-'W'ww", "2021-W01"), "not emulated"),
]
moments = st.integers(ms(1900, 1, 1), ms(2100, 1, 1))
zones = st.sampled_from([None, "UTC", BERLIN, NEW_YORK, KATHMANDU, "Australia/Lord_Howe"])
units = st.sampled_from(["year", "month", "week", "day", "hour", "minute", "second"])


def run(name, **arguments):
    return registry.call(f"Date.{name}", arguments)


@pytest.mark.parametrize(("text", "zone", "expected"), WRITTEN)
def test_written_dates_are_read(evaluate, text, zone, expected):
    assert evaluate(lambda ee: ee.Date(text, zone).millis()) == expected


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_dates_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("pattern", "expected"), FORMATS)
def test_dates_are_formatted(evaluate, pattern, expected):
    assert evaluate(lambda ee: ee.Date("2005-04-03T14:05:06.078").format(pattern)) == expected


@pytest.mark.parametrize(("zone", "pattern", "expected"), ZONED)
def test_dates_are_formatted_in_time_zones(evaluate, zone, pattern, expected):
    assert evaluate(lambda ee: ee.Date("2005-04-03T14:05:06").format(pattern, zone)) == expected


@pytest.mark.parametrize(("pattern", "text", "expected"), PARSED)
def test_dates_are_parsed(evaluate, pattern, text, expected):
    assert evaluate(lambda ee: ee.Date.parse(pattern, text)) == {"type": "Date", "value": expected}


def test_a_date_is_parsed_in_a_time_zone(evaluate):
    assert evaluate(lambda ee: ee.Date.parse("yyyy-MM-dd", "2021-07-01", BERLIN)) == day(2021, 6, 30, 22)


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


@given(moments, st.integers(-5000, 5000), st.sampled_from(["week", "day", "hour", "minute", "second"]))
def test_difference_inverts_advance(moment, delta, unit):
    date = Date(float(moment))
    assert run(
        "difference", date=run("advance", date=date, delta=delta, unit=unit), start=date, unit=unit
    ) == pytest.approx(delta)


@given(moments, st.integers(-500, 500))
def test_twelve_months_are_a_year(moment, years):
    date = Date(float(moment))
    assert run("advance", date=date, delta=12 * years, unit="month") == run(
        "advance", date=date, delta=years, unit="year"
    )


@given(st.integers(ms(1990, 1, 1), ms(2100, 1, 1)))  # offsets have had no seconds since
def test_parsing_inverts_formatting(moment):
    pattern = "yyyy-MM-dd'T'HH:mm:ss.SSSZ"
    text = run("format", date=Date(float(moment)), format=pattern, timeZone=KATHMANDU)

    class Now:
        now = datetime(2024, 1, 1, tzinfo=UTC)

    assert registry.call("Date.parse", {"format": pattern, "date": text}, Now) == Date(float(moment))


@given(moments, units, zones)
def test_a_range_holds_its_date_and_borders_on_the_next(moment, unit, zone):
    date = Date(float(moment))
    found = run("getRange", date=date, unit=unit, timeZone=zone)
    assert date in found
    assert run("getRange", date=found.start, unit=unit, timeZone=zone) == found
    assert 0 <= run("getFraction", date=date, unit=unit, timeZone=zone) < 1


@given(moments)
def test_fields_are_those_of_the_calendar(moment):
    date, expected = Date(float(moment)), datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)
    for unit in ("year", "month", "day", "hour", "minute", "second"):
        assert run("get", date=date, unit=unit) == getattr(expected, unit)
