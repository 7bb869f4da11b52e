"""Who may start: so many open requests for each host, so many starts in any second, for each project."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from airflow_ee.emulator.limits import too_many_requests

Host = Literal["standard", "high-volume"]

WINDOW_SECONDS = 1.0
SWEEP_SECONDS = 60.0


class Admission:
    """Counts the requests of each project; used from one thread only.

    >>> admission = Admission(max_concurrent_requests=1, requests_per_second=None)
    >>> with admission.entered("p", "standard"), admission.entered("p", "high-volume"):
    ...     pass
    """

    def __init__(
        self,
        *,
        max_concurrent_requests: int | None,
        requests_per_second: float | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = max_concurrent_requests
        self._rate = requests_per_second
        self._monotonic = monotonic
        self._next_sweep = 0.0
        self._open: Counter[tuple[str, Host]] = Counter()
        self._starts: dict[str, deque[float]] = {}

    @contextmanager
    def entered(self, project: str, host: Host) -> Iterator[None]:
        """One request, from its start to its answer; 429 where there are too many."""
        pool = (project, host)
        if self._most is not None and self._open[pool] >= self._most:
            raise too_many_requests()
        self._count_start(project)
        self._open[pool] += 1
        try:
            yield
        finally:
            self._open[pool] -= 1
            if not self._open[pool]:
                del self._open[pool]

    def _count_start(self, project: str) -> None:
        """Refused requests do not count: a client that waits for its turn gets it."""
        if self._rate is None:
            return
        now = self._monotonic()
        self._sweep(now)
        starts = self._starts.setdefault(project, deque())
        while starts and starts[0] <= now - WINDOW_SECONDS:
            starts.popleft()
        if len(starts) >= self._rate:
            raise too_many_requests()
        starts.append(now)

    def _sweep(self, now: float) -> None:
        """Forget the projects that have not asked for a while."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        recent = {project: starts for project, starts in self._starts.items() if starts[-1] > now - WINDOW_SECONDS}
        self._starts = recent
