"""An exclusive lock in a folder that many machines see, which expires when its holder is gone.

Each holder makes a file with the next number, and the highest number holds the lock. A number is made by one process only, also
when several find the lock expired at once; a holder that was thought dead finds a higher number and stops. So no file of another
holder is ever replaced or removed while it counts, and the last one stays: it is what the next number is counted from.

No clocks of different machines are compared: a lock is expired when whoever waits has seen it unchanged for long enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.folders import create_file, list_names

__all__ = ["ExclusiveLock", "HeldLock", "LockLost", "LockSettings"]

_PREFIX = "lock-"


class LockLost(RuntimeError):
    """Another process took the lock over, because this one stood still for too long; what it was doing must not go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSettings:
    """How long a lock lasts and how long to wait for it."""

    expires_after_seconds: float = 60.0
    """A holder that shows no sign of life for so long has lost it; one is shown every third of this."""
    wait_seconds: float = 1800.0
    """Waiting ends with an error that names the holder."""
    poll_seconds: float = 0.1
    """Between two looks at a lock that somebody else holds."""

    def __post_init__(self) -> None:
        if self.expires_after_seconds <= 0 or self.poll_seconds <= 0:
            raise ValueError(
                "lock: expires_after_seconds and poll_seconds must be above 0, "
                f"got {self.expires_after_seconds} and {self.poll_seconds}"
            )
        if self.wait_seconds < 0:
            raise ValueError(f"lock: wait_seconds must not be below 0, got {self.wait_seconds}")


class ExclusiveLock:
    """At most one holder of ``folder`` at a time.

    Parameters
    ----------
    folder
        Where the lock's file is kept; made when it is not there.
    clock, sleep
        Seconds that never go back, and a way to wait.

    Examples
    --------
    >>> import fsspec
    >>> folder = Location(fsspec.filesystem("memory"), "/locks/doctest", "memory://locks/doctest")
    >>> with ExclusiveLock(folder).held() as held:
    ...     held.keep()
    """

    def __init__(
        self,
        folder: Location,
        settings: LockSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._folder, self._settings = folder, settings or LockSettings()
        self._clock, self._sleep = clock, sleep

    @contextmanager
    def held(self) -> Iterator[HeldLock]:
        """Wait for the lock, hold it, give it back.

        Raises
        ------
        TimeoutError
            When it stays with somebody else for longer than ``wait_seconds``.
        """
        held = self._acquire()
        try:
            yield held
        finally:
            held.release()

    def _acquire(self) -> HeldLock:
        begin = self._clock()
        seen, since = None, begin
        while True:
            number, content = self._last()
            now = self._clock()
            if (number, content) != seen:
                seen, since = (number, content), now
            free = _parse(content).get("released", number == 0)
            if free or now - since >= self._settings.expires_after_seconds:
                held = HeldLock(self, number + 1)
                if held.claim():
                    return held
            elif now - begin >= self._settings.wait_seconds:
                raise TimeoutError(self._who(content))
            else:
                self._sleep(self._settings.poll_seconds)

    def _who(self, content: bytes) -> str:
        holder = _parse(content).get("holder", "somebody who left no name")
        return (
            f"{self._folder.url}: locked by {holder}, waited {self._settings.wait_seconds:g} s; "
            "wait for that run to end, or raise the lock's wait_seconds"
        )

    def _last(self) -> tuple[int, bytes]:
        """The highest number and what its file says; 0 when nobody held the lock yet."""
        while numbers := self._numbers():
            # The next holder removes the files before its own: then there is a higher one to look at.
            with contextlib.suppress(FileNotFoundError):
                return numbers[-1], self._file(numbers[-1]).read_bytes()
        return 0, b""

    def _numbers(self) -> list[int]:
        names = (name.removeprefix(_PREFIX) for name in list_names(self._folder) if name.startswith(_PREFIX))
        return sorted(int(name) for name in names if name.isdecimal())

    def _file(self, number: int) -> Location:
        return self._folder / f"{_PREFIX}{number:08d}"

    def _forget(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            file = self._file(number)
            file.filesystem.rm_file(file.path)


class HeldLock:
    """A number of a lock that this process made."""

    def __init__(self, lock: ExclusiveLock, number: int) -> None:
        self._lock, self._number, self._renewals = lock, number, 0
        self._shown = lock._clock()

    def claim(self) -> bool:
        """Make the number's file; whether this process made it and it is the highest."""
        if not create_file(self._lock._file(self._number), self._content(released=False)):
            return False
        if self._lock._numbers()[-1] != self._number:
            # Holders came and went between the look and the claim, and took the number's own file with them.
            self._lock._forget(self._number)
            return False
        for number in self._lock._numbers()[:-1]:
            self._lock._forget(number)
        return True

    def keep(self) -> None:
        """Call before every step that cannot be undone: makes sure that the lock is still held, and shows a sign of life.

        Raises
        ------
        LockLost
            When another process has taken it over.
        """
        if self._lock._numbers()[-1:] != [self._number]:
            raise LockLost(
                f"{self._lock._folder.url}: this run showed no sign of life for "
                f"{self._lock._settings.expires_after_seconds:g} s and another one took its lock; run it again"
            )
        now = self._lock._clock()
        if now - self._shown >= self._lock._settings.expires_after_seconds / 3:
            self._renewals, self._shown = self._renewals + 1, now
            self._lock._file(self._number).put(self._content(released=False))

    def release(self) -> None:
        """Give the lock back; harmless when another process has taken it over."""
        self._lock._file(self._number).put(self._content(released=True))

    def _content(self, *, released: bool) -> bytes:
        holder = f"{socket.gethostname()}, process {os.getpid()}"
        return json.dumps({"holder": holder, "released": released, "renewals": self._renewals}).encode()


def _parse(content: bytes) -> dict[str, object]:
    """What a lock's file says; nothing when its holder was killed while it wrote it."""
    try:
        told = json.loads(content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
