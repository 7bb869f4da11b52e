"""Date.format and Date.parse: the patterns of Joda-Time, in English."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.dates import local
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import Date, instant, zone_of

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PART = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_AMERICAN = {"E": "Eastern", "C": "Central", "M": "Mountain", "P": "Pacific"}
_ISO = "yyyy-MM-dd'T'HH:mm:ss"


@dataclass(frozen=True, slots=True)
class Part:
    """Letters of a pattern, or text between them."""

    letter: str
    count: int
    text: str = ""


def parts_of(function: str, pattern: str) -> list[Part]:
    """A pattern taken apart.

    >>> [part.letter or part.text for part in parts_of("", "yy 'at' MM")]
    ['y', ' ', 'at', ' ', 'M']
    """
    parts, at = [], 0
    while at < len(pattern):
        found = _PART.match(pattern, at)
        if found is None:
            raise invalid(f"{function}: Invalid pattern specification '{pattern}'.")
        at = found.end()
        if found[2]:
            parts.append(Part(found[2], len(found[0])))
        else:
            # Two quotes are one, inside of quotes and outside.
            quoted = "'" if found[1] == "" else (found[1] or "").replace("''", "'")
            parts.append(Part("", 0, found[0] if found[1] is None else quoted))
    return parts


@registry.implements("Date.format")
def format_date(date: Date, format: str | None = None, time_zone: str | None = None) -> str:
    """ISO 8601 to the second, or a pattern."""
    zone = zone_of(time_zone)
    shown = local(date, zone)
    return "".join(_field(part, shown, date, time_zone) for part in parts_of("Date.format", format or _ISO))


_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "C": lambda shown: shown.year // 100, "Y": lambda shown: shown.year, "y": lambda shown: shown.year,
    "x": lambda shown: shown.isocalendar().year, "w": lambda shown: shown.isocalendar().week,
    "e": lambda shown: shown.isoweekday(), "D": lambda shown: shown.timetuple().tm_yday, "M": lambda shown: shown.month,
    "d": lambda shown: shown.day, "H": lambda shown: shown.hour, "k": lambda shown: shown.hour or 24,
    "K": lambda shown: shown.hour % 12, "h": lambda shown: shown.hour % 12 or 12, "m": lambda shown: shown.minute,
    "s": lambda shown: shown.second,
}  # fmt: skip


def _field(part: Part, shown: datetime, date: Date, zone_name: str | None) -> str:
    letter, count = part.letter, part.count
    if not letter:
        return part.text
    if letter == "M" and count >= 3:
        return _name(MONTHS[shown.month - 1], count)
    if letter in _NUMBERS:
        value = _NUMBERS[letter](shown)
        return str(value % 100 if letter in "Yyx" and count == 2 else value).zfill(count)
    texts: dict[str, Callable[[], str]] = {
        "G": lambda: "AD",
        "E": lambda: _name(DAYS[shown.weekday()], count),
        "a": lambda: "AM" if shown.hour < 12 else "PM",
        "S": lambda: f"{shown.microsecond // 1000:03d}".ljust(count, "0")[:count],
        "z": lambda: _zone_text(date, zone_name, count),
        "Z": lambda: zone_name or "UTC" if count > 2 else _offset_text(date, zone_of(zone_name), ":" * (count == 2)),
    }
    if letter not in texts:
        raise invalid(f"Date.format: Illegal pattern component: {letter * count}")
    return texts[letter]()


def _name(name: str, count: int) -> str:
    return name if count >= 4 else name[:3]


def _offset_text(date: Date, zone: tzinfo, colon: str) -> str:
    minutes = round((date.moment.astimezone(zone).utcoffset() or timedelta()) / timedelta(minutes=1))
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}{colon}{rest:02d}"


def _zone_text(date: Date, name: str | None, count: int) -> str:
    """Names of time zones are the Java machine's own; only those that are the same everywhere are known here."""
    if name in (None, "UTC"):
        return "Coordinated Universal Time" if count >= 4 else "UTC"
    short = date.moment.astimezone(zone_of(name)).tzname() or ""
    american = re.fullmatch(r"([ECMP])([SD])T", short)
    if american is None:
        raise invalid(f"Date.format: the name of the time zone '{name}' is not emulated; use 'Z'.")
    season = "Standard" if american[2] == "S" else "Daylight"
    return f"{_AMERICAN[american[1]]} {season} Time" if count >= 4 else short


@registry.implements("Date.parse")
def parse_date(format: str, date: str, session: Session, time_zone: str | None = None) -> Date:
    """An instant from text in a given pattern."""
    parts = parts_of("Date.parse", format)
    pattern = "".join(_reader(part, parts[at + 1 : at + 2]) for at, part in enumerate(parts))
    found = re.fullmatch(pattern, date, re.IGNORECASE)
    if found is None:
        raise invalid(f"Date.parse: Invalid format: \"{date}\" does not match '{format}'.")
    read: dict[str, str] = {}
    for part, text in zip([part for part in parts if part.letter], found.groups(), strict=True):
        key = "yy" if part.letter in "yY" and part.count == 2 and len(text) == 2 else part.letter.replace("Y", "y")
        if read.setdefault(key, text) != text:
            raise invalid(f"Date.parse: '{format}' reads a field twice.")
    return _assembled(read, date, zone_of(time_zone), session.now.year)


_WIDTHS = {"y": 9, "Y": 9, "M": 2, "d": 2, "D": 3, "H": 2, "k": 2, "K": 2, "h": 2, "m": 2, "s": 2}
_WORDS = {
    "M": "|".join((*MONTHS, *(month[:3] for month in MONTHS))),
    "a": "AM|PM",
    "Z": r"Z|[+-]\d{2}:?\d{2}",
}


def _reader(part: Part, following: list[Part]) -> str:
    """A regular expression for a part: numbers take fewer digits than letters, but no more where another number follows."""
    letter, count = part.letter, part.count
    if not letter:
        return re.escape(part.text)
    if (letter == "M" and count >= 3) or letter == "a" or (letter == "Z" and count < 3):
        return f"({_WORDS[letter]})"
    if letter == "S":
        return rf"(\d{{1,{count}}})"
    if letter not in _WIDTHS:
        raise invalid(f"Date.parse: the pattern '{letter * count}' is not emulated.")
    number_follows = bool(following) and following[0].letter in (*_WIDTHS, "S") and following[0].letter != ""
    widest = count if letter in "yY" and number_follows else max(_WIDTHS[letter], count)
    return rf"(\d{{1,{widest}}})"


def _assembled(read: dict[str, str], text: str, zone: tzinfo, this_year: int) -> Date:
    problem = invalid(f'Date.parse: Cannot parse "{text}".')
    try:
        year = _year(read, this_year)
        month, day = _month(read.get("M", "1")), int(read.get("d", "1"))
        shown = datetime(year, month, day, tzinfo=UTC).replace(tzinfo=None)
        if "D" in read:
            shown = datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(days=int(read["D"]) - 1)
        shown = shown.replace(
            hour=_hour(read, problem),
            minute=int(read.get("m", "0")),
            second=int(read.get("s", "0")),
            microsecond=int(read.get("S", "0").ljust(6, "0")[:3]) * 1000,
        )
    except (ValueError, OverflowError):
        raise problem from None
    if shown.year != year:
        raise problem
    return Date.of_datetime(instant(shown, _parsed_offset(read["Z"]) if "Z" in read else zone))


def _year(read: dict[str, str], this_year: int) -> int:
    """Two digits are a year of the hundred around thirty years ago; a day without a year is one of the year 2000."""
    if "yy" in read:
        first = this_year - 30 - 50
        return first + (int(read["yy"]) - first) % 100
    if "y" in read:
        return int(read["y"])
    return 2000 if {"M", "d", "D"} & read.keys() else 1970


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    return [month[:3].lower() for month in MONTHS].index(text[:3].lower()) + 1


def _hour(read: dict[str, str], problem: Exception) -> int:
    if "h" in read or "K" in read:
        hour = int(read["h"]) if "h" in read else int(read["K"])
        if not ("h" in read) <= hour <= 11 + ("h" in read):
            raise problem
        return hour % 12 + (12 if read.get("a", "AM").upper() == "PM" else 0)
    if "k" in read:
        if not 1 <= int(read["k"]) <= 24:
            raise problem
        return int(read["k"]) % 24
    return int(read.get("H", "0"))


def _parsed_offset(text: str) -> tzinfo:
    if text.upper() == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-size if text[0] == "-" else size)
