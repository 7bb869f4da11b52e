"""How long one request may compute: looked at between steps, since a step itself cannot be interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from airflow_ee.emulator.errors import invalid

INTERACTIVE_SECONDS = 300.0
"""The service's own limit for requests that somebody waits for (developers.google.com/earth-engine/guides/usage)."""

_end: ContextVar[float | None] = ContextVar("end", default=None)


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


def check() -> None:
    """Refuse to go on when the time is over. Outside of :func:`within` there is no limit."""
    end = _end.get()
    if end is not None and time.monotonic() >= end:
        raise invalid("Computation timed out.")
