"""What a job has done so far, told so that a person can follow it: lines in a log, or a bar where there is a terminal."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["Progress"]

TELL_SECONDS = 5.0
"""Between two lines of the log."""
BAR_SECONDS = 0.2
"""Between two pictures of the bar."""
BAR_CELLS = 30
log = logging.getLogger(__name__)


class Progress:
    """Counts requests, bytes and tiles from many threads, and tells of them every few seconds.

    Parameters
    ----------
    total
        Tiles in all; None: not known.
    terminal
        Where the bar is drawn if it is a terminal, which it is not in an Airflow task; else there are lines in the log.
    clock
        Monotonic seconds; given by tests.

    Examples
    --------
    >>> progress = Progress(total=4)
    >>> progress.answered(attempts=2, size_bytes=1_000_000)
    >>> progress.finished()
    >>> progress.summary()["requests"], progress.summary()["retries"]
    (2, 1)
    """

    def __init__(
        self,
        total: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        terminal: TextIO | None = None,
    ) -> None:
        self.total = total
        self._terminal = _terminal(sys.stderr if terminal is None else terminal)
        self._clock, self._lock = clock, threading.Lock()
        self._began = self._told = clock()
        self._told_bytes = 0
        self._drawn = False
        self.tiles = 0
        """Tiles done, those of an earlier try not counted."""
        self.resumed = 0
        """Tiles that an earlier try had done."""
        self.answers = self.requests = self.bytes = self.splits = 0
        self.quota_wait_seconds = 0.0
        """Time that threads waited for the quota, all together."""

    @property
    def retries(self) -> int:
        """Requests that were made again."""
        return self.requests - self.answers

    def answered(self, attempts: int, size_bytes: int) -> None:
        """Count an answer with pixels, and the requests that it took."""
        with self._lock:
            self.answers += 1
            self.requests += attempts
            self.bytes += size_bytes

    def finished(self) -> None:
        """Count a tile that is where it belongs."""
        with self._lock:
            self.tiles += 1

    def was_there(self, tiles: int) -> None:
        """Count tiles that an earlier run had done."""
        with self._lock:
            self.resumed += tiles

    def cut(self) -> None:
        """Count a tile that was too large for the service."""
        with self._lock:
            self.splits += 1

    def tell(self, in_flight: int) -> None:
        """Draw the bar or write a line to the log, if the last one is old."""
        with self._lock:
            now = self._clock()
            if now - self._told < (TELL_SECONDS if self._terminal is None else BAR_SECONDS):
                return
            rate = (self.bytes - self._told_bytes) / (now - self._told) / 1e6
            self._told, self._told_bytes = now, self.bytes
        line = (
            f"{self._of_total()} tiles, {rate:.1f} MB/s, {in_flight} requests at once, {self.retries} repeated"
            f"{self._time_left(now)}"
        )
        if self._terminal is None:
            log.info("%s", line)
        else:
            self._draw(line)

    def close(self) -> None:
        """Leave the bar as it is, and go on in the next line of the terminal."""
        if self._terminal is not None and self._drawn:
            self._draw(f"{self._of_total()} tiles")
            self._terminal.write("\n")
            self._terminal.flush()
            self._drawn = False

    def _draw(self, line: str) -> None:
        if self._terminal is None:
            return
        done = 0.0 if not self.total else min((self.tiles + self.resumed) / self.total, 1.0)
        cells = int(BAR_CELLS * done)
        bar = "" if self.total is None else f"[{'#' * cells}{'-' * (BAR_CELLS - cells)}] "
        # Over the line before, of which nothing may stay visible.
        self._terminal.write(f"\r{bar}{line}\x1b[K")
        self._terminal.flush()
        self._drawn = True

    def summary(self) -> dict[str, Any]:
        """The figures at the end, as JSON values."""
        return {
            "tiles": self.tiles,
            "tiles_resumed": self.resumed,
            "requests": self.requests,
            "retries": self.retries,
            "splits": self.splits,
            "bytes_fetched": self.bytes,
            "quota_wait_seconds": round(self.quota_wait_seconds, 3),
            "seconds": round(self._clock() - self._began, 3),
        }

    def _of_total(self) -> str:
        done = self.tiles + self.resumed
        return f"{done}" if self.total is None else f"{done} of {self.total}"

    def _time_left(self, now: float) -> str:
        if self.total is None or not self.tiles:
            return ""
        left = (self.total - self.tiles - self.resumed) * (now - self._began) / self.tiles
        return f", {left:.0f} s left" if left < 120 else f", {left / 60:.0f} min left"


def _terminal(stream: TextIO | None) -> TextIO | None:
    """The stream, if somebody looks at it; a process without any, as a service may be, has none."""
    return stream if stream is not None and stream.isatty() else None
