"""How much one evaluation may hold: what it makes is counted, and the process is looked at now and then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.array import Array

MAX_GROWTH_BYTES = 2**30
"""Memory that the process may gain during one evaluation that itself makes large values."""

MAX_TEXT = 10_485_760
"""Letters of a text: what a whole request may have."""

MAX_ITEMS = 5_000_000
"""Items of a list."""

_LOOK_EVERY_BYTES = 2**26
_ITEM_BYTES = 40
_STATM = Path("/proc/self/statm")
_TOO_MUCH = "User memory limit exceeded."


def check_text(letters: int) -> None:
    """Refuse a text before it is made."""
    if letters > MAX_TEXT:
        raise invalid(_TOO_MUCH)


def check_items(count: int) -> None:
    """Refuse a list before it is made."""
    if count > MAX_ITEMS:
        raise invalid(_TOO_MUCH)


class Meter:
    """Counts the values that an evaluation makes.

    >>> Meter().note("x" * (MAX_TEXT + 1))
    Traceback (most recent call last):
        ...
    airflow_ee.emulator.errors.EmulatorError: User memory limit exceeded.
    """

    def __init__(self) -> None:
        self._made = 0
        self._next_look = _LOOK_EVERY_BYTES
        self._before: int | None = None

    def note(self, value: Any) -> None:
        """Take a new value into account. Most are dropped again, so only the process itself tells what is held."""
        self._made += _weight(value)
        if self._made < self._next_look:
            return
        self._next_look = self._made + _LOOK_EVERY_BYTES
        held = _resident_bytes()
        self._before = held if self._before is None else min(self._before, held)
        if held - self._before > MAX_GROWTH_BYTES:
            raise invalid(_TOO_MUCH)


def _weight(value: Any) -> int:
    """Bytes of what a value holds directly."""
    if isinstance(value, str):
        check_text(len(value))
        return len(value)
    if isinstance(value, list | dict):
        check_items(len(value))
        return _ITEM_BYTES * len(value)
    return int(value.values.nbytes) if isinstance(value, Array) else 0


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0
