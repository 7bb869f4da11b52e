"""Time as something that is handed in: tests hold it still."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""


class ShiftedClock:
    """The machine's own time, from another moment on, and pushed on when asked to.

    >>> ShiftedClock(datetime(2024, 3, 1, tzinfo=UTC)).now().year
    2024
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._shift = timedelta() if start is None else start - datetime.now(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The present moment."""
        with self._lock:
            return datetime.now(UTC) + self._shift

    def advance(self, seconds: float) -> None:
        """Move on, over and above the time that passes."""
        with self._lock:
            self._shift += timedelta(seconds=seconds)


class ManualClock:
    """A time that only moves when told to.

    >>> clock = ManualClock(datetime(2024, 1, 1, tzinfo=UTC))
    >>> clock.advance(90)
    >>> clock.now().minute
    1
    """

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The moment that was set."""
        with self._lock:
            return self._now

    def set(self, moment: datetime) -> None:
        """Be at that moment."""
        with self._lock:
            self._now = moment

    def advance(self, seconds: float) -> None:
        """Move on."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
