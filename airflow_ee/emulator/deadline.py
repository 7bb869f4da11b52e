"""How long one request may compute: looked at between steps, since a step itself cannot be interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

from airflow_ee.emulator.errors import EmulatorError, invalid

INTERACTIVE_SECONDS = 300.0
"""The service's own limit for requests that somebody waits for (developers.google.com/earth-engine/guides/usage)."""

LOOK_EVERY = 10_000
"""Steps of a budget between two looks at the time."""

_end: ContextVar[float | None] = ContextVar("end", default=None)
_stopped: ContextVar[Event | None] = ContextVar("stopped", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let what runs inside take so many seconds.

    >>> with within(0.0):
    ...     check()
    Traceback (most recent call last):
        ...
    airflow_ee.emulator.errors.EmulatorError: Computation timed out.
    """
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


@contextmanager
def unless(stopped: Event) -> Iterator[None]:
    """Give up what runs inside when the server stops."""
    token = _stopped.set(stopped)
    try:
        yield
    finally:
        _stopped.reset(token)


def check() -> None:
    """Refuse to go on when the time is over, or the server stops. Outside of :func:`within` there is no limit."""
    stopped = _stopped.get()
    if stopped is not None and stopped.is_set():
        raise EmulatorError("UNAVAILABLE", "The service is currently unavailable.")
    end = _end.get()
    if end is not None and time.monotonic() >= end:
        raise invalid("Computation timed out.")


class Budget:
    """Steps that may be taken before a value is refused as too large; the time is looked at on the way.

    >>> Budget(2, "Too much.").spend(3)
    Traceback (most recent call last):
        ...
    airflow_ee.emulator.errors.EmulatorError: Too much.
    """

    def __init__(self, steps: int, message: str) -> None:
        self._left = steps
        self._message = message
        self._next_look = steps - LOOK_EVERY

    def check(self, steps: int) -> None:
        """Refuse what will take more steps than are left."""
        if steps > self._left:
            raise invalid(self._message)

    def spend(self, steps: int = 1) -> None:
        """Take steps."""
        self._left -= steps
        if self._left < 0:
            raise invalid(self._message)
        if self._left < self._next_look:
            self._next_look = self._left - LOOK_EVERY
            check()
