"""Instants and intervals as Earth Engine counts them: milliseconds since 1970, UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_ee.emulator.errors import invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS = {
    "second": 1e3,
    "minute": 6e4,
    "hour": 3.6e6,
    "day": 8.64e7,
    "week": 6.048e8,
    "month": 365.2425 / 12 * 8.64e7,
    "year": 365.2425 * 8.64e7,
}
"""Average length of each unit, as Date.difference uses it."""


@dataclass(frozen=True, slots=True, order=True)
class Date:
    """An instant.

    >>> Date.of("2020-06-09").milliseconds
    1591660800000.0
    """

    milliseconds: float

    @classmethod
    def of(cls, value: Any) -> Date:
        """An instant from what users write: a Date, milliseconds, or ISO 8601 text."""
        if isinstance(value, Date):
            return value
        if isinstance(value, DateRange):
            return value.start
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(float(value))
        if isinstance(value, str):
            return cls.of_datetime(parse_time(value))
        raise invalid(f"Date: Cannot interpret {value!r} as a date.")

    @classmethod
    def of_datetime(cls, moment: datetime) -> Date:
        """An instant from an aware datetime."""
        return cls((moment - EPOCH) / timedelta(milliseconds=1))

    @property
    def moment(self) -> datetime:
        """The instant as an aware datetime in UTC."""
        return EPOCH + timedelta(milliseconds=self.milliseconds)


@dataclass(frozen=True, slots=True)
class DateRange:
    """A half-open interval: the end does not belong to it."""

    start: Date
    end: Date

    def __contains__(self, date: Date) -> bool:
        return self.start <= date < self.end


def parse_time(text: str) -> datetime:
    """ISO 8601 text as an aware datetime; without a zone it is UTC, and months or days may be missing.

    >>> parse_time("2020-06").isoformat()
    '2020-06-01T00:00:00+00:00'
    """
    padded = text.strip()
    if re.fullmatch(r"\d{4}", padded):
        padded += "-01-01"
    elif re.fullmatch(r"\d{4}-\d{2}", padded):
        padded += "-01"
    # RFC 3339 allows nine fraction digits, datetime six.
    padded = re.sub(r"(\.\d{6})\d+", r"\1", padded)
    try:
        moment = datetime.fromisoformat(padded)
    except ValueError:
        raise invalid(f"Date: Cannot parse date '{text}'.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 with as many of 0, 3 or 6 fraction digits as are needed.

    >>> timestamp(datetime(2026, 11, 21, 10, 0, 0, 120000, tzinfo=UTC))
    '2026-11-21T10:00:00.120Z'
    """
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    micros = moment.microsecond
    if micros:
        text += f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"
    return text + "Z"
