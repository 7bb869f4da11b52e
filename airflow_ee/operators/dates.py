"""From when to when a run of a task works: from its arguments, the run's params, or its data interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

__all__ = ["data_interval", "read_moment", "resolve_interval"]

Moment = str | date | datetime | None

# What a template makes of nothing.
_NOTHING = frozenset({"", "none", "null"})


def resolve_interval(
    context: Mapping[str, Any],
    *,
    start: Moment = None,
    end: Moment = None,
    lookback: timedelta | float | str | None = None,
) -> tuple[datetime, datetime]:
    """
    Return the interval to work on, from its start up to but without its end, in UTC.

    It comes from the arguments; else from the params ``start`` and ``end``, which a person types into the trigger form;
    else from the run's data interval, if that is not empty. Of arguments and params both or neither must be given.

    :param context: Airflow's context.
    :param start: ISO date or moment; without a zone it is UTC.
    :param end: ISO date or moment, not part of the interval.
    :param lookback: How much earlier to begin, as ``timedelta`` or days: for images that came late. Left out of account
        when a person typed the dates.

    >>> resolve_interval({}, start="2024-01-01", end="2024-02-01", lookback=1)[0].isoformat()
    '2023-12-31T00:00:00+00:00'
    """
    earlier = _lookback(lookback)
    given = _pair("argument", start, end)
    if given is None:
        params = context.get("params") or {}
        typed = _pair("param", params.get("start"), params.get("end"))
        if typed is not None:
            return typed
        given = _data_interval(context)
    if given is None:
        raise ValueError(
            "no dates: give the arguments start and end, or the params start and end, or schedule the DAG with "
            "CronDataIntervalTimetable (cron strings and timedeltas give empty data intervals, and runs that a person, "
            "the REST API or an asset starts may have none)"
        )
    try:
        return given[0] - earlier, given[1]
    except OverflowError:
        raise ValueError(f"lookback of {earlier} goes back before the first year, from {given[0].date()}") from None


def data_interval(context: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """
    Return the time that a run is about: its data interval, else its logical date as a moment, else nothing.

    :param context: Airflow's context.
    """
    found = _data_interval(context)
    return found or (read_moment("logical_date", context.get("logical_date")), None)


def read_moment(name: str, value: Moment) -> datetime | None:
    """
    Return a moment in UTC, or None for the ways in which a template says "nothing".

    :param name: The argument, for the error.
    :param value: ISO date or moment; without a zone it is UTC.
    """
    if isinstance(value, str):
        if value.strip().lower() in _NOTHING:
            return None
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{name} must be an ISO date such as 2024-01-31, got {value!r}") from None
    if value is None:
        return None
    if isinstance(value, datetime):
        # A plain datetime, since pendulum's prints and compares alike but is no value of ours.
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return datetime.fromtimestamp(aware.timestamp(), UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError(f"{name} must be an ISO date such as 2024-01-31, got {type(value).__name__} {value!r}")


def _pair(what: str, start: Moment, end: Moment) -> tuple[datetime, datetime] | None:
    moments = read_moment(f"{what} start", start), read_moment(f"{what} end", end)
    match moments:
        case None, None:
            return None
        case datetime(), datetime():
            return _ordered(what, moments[0], moments[1])
    missing = "start" if moments[0] is None else "end"
    raise ValueError(f"{what}s start and end must be given both or neither, {missing} is missing")


def _data_interval(context: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    start = read_moment("data_interval_start", context.get("data_interval_start"))
    end = read_moment("data_interval_end", context.get("data_interval_end"))
    if start is None or end is None or start == end:
        return None
    return _ordered("data_interval", start, end)


def _ordered(what: str, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    if start >= end:
        raise ValueError(
            f"{what} start must be before {what} end, got {start.isoformat()} and {end.isoformat()}; the end is not part of "
            "the interval"
        )
    return start, end


def _lookback(value: timedelta | float | str | None) -> timedelta:
    if isinstance(value, str) and value.strip().lower() in _NOTHING:
        value = None
    if value is None:
        return timedelta(0)
    if not isinstance(value, timedelta):
        try:
            days = float(value)
        except (TypeError, ValueError):
            days = math.nan
        if not math.isfinite(days):
            raise ValueError(f"lookback must be a timedelta or a number of days, got {value!r}")
        try:
            value = timedelta(days=days)
        except OverflowError:
            raise ValueError(f"lookback of {value} days is longer than time") from None
    if value < timedelta(0):
        raise ValueError(f"lookback must not be negative, got {value}")
    return value
