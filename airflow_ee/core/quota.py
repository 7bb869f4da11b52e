"""How many pixel requests may be under way, and how many may start in a second: found out, not only told.

A project's quota is shared with people, other tasks and other machines, and is lowered at times without a word. So a gate begins at
what it was told, gives way when the service says 429, and climbs again while it does not: additive increase, multiplicative decrease
(Chiu and Jain 1989), of requests at once and of starts in a second both, since the service does not say which of them was too many.
A cut goes to what got through besides the refusal, which is known here, instead of to half of what was tried.
"""

from __future__ import annotations

import collections
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_ee.core.settings import ClientSettings

__all__ = ["QuotaGate", "shared_gate"]

WINDOW_SECONDS = 1.02
"""Starts are counted over a little more than the service's second, as requests do not all travel equally long."""
CUT = 0.96
"""Of what got through, that is asked for after a refusal: what others use of the quota may vary."""
MOST_CUT = 0.7
"""Of what was allowed, that is left at least after one row of refusals: a quota that was just lowered lets nothing through for a moment."""
CLIMB_PER_SECOND = 1.0
"""Requests at once, and starts a second, that are added each second at first; twice as many after every ``DOUBLING_SECONDS`` in peace."""
DOUBLING_SECONDS = 4.0
EVENLY = 0.9
"""Of the time between two starts at the present rate, that is kept after a refusal."""
RESTRICTED_SHARE = 0.25
"""Of its requests at once that a gate uses while the service says that the project's parallelism is restricted."""
CHECK_SECONDS = 0.25
log = logging.getLogger(__name__)


class QuotaGate:
    """Lets requests through while the quota has room; one gate serves all threads that share a quota.

    Parameters
    ----------
    max_concurrency
        Requests at once, never exceeded.
    requests_per_second
        Starts in any second, never exceeded.
    clock
        Monotonic seconds; given by tests.

    Examples
    --------
    >>> gate = QuotaGate(max_concurrency=40, requests_per_second=100)
    >>> with gate.slot():
    ...     gate.in_flight
    1
    >>> gate.refused()
    >>> gate.concurrency
    28
    """

    def __init__(
        self, *, max_concurrency: int, requests_per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._most_per_second = max_concurrency, requests_per_second
        self._limit, self._rate = float(max_concurrency), requests_per_second
        self._clock = clock
        self._changed = threading.Condition()
        self._starts: collections.deque[float] = collections.deque()
        self._refused: collections.deque[float] = collections.deque()
        self._last_cut = -math.inf
        self._least = self._least_per_second = 1.0
        self._last_climb = clock()
        self._restricted = False
        self.in_flight = 0
        """Requests under way."""
        self._refusals = 0
        self.waited_seconds = 0.0
        """Time that threads spent waiting here, all together."""

    @property
    def concurrency(self) -> int:
        """Requests at once that are allowed at present."""
        share = RESTRICTED_SHARE if self._restricted else 1.0
        return max(1, math.floor(min(self._limit, self._most * share)))

    @property
    def requests_per_second(self) -> float:
        """Starts in a second that are allowed at present."""
        return self._rate

    def widen(self, *, max_concurrency: int, requests_per_second: float) -> None:
        """Take over a larger share of the quota: that of another client of the same connection."""
        with self._changed:
            if max_concurrency > self._most:
                self._limit += max_concurrency - self._most
                self._most = max_concurrency
            if requests_per_second > self._most_per_second:
                self._rate += requests_per_second - self._most_per_second
                self._most_per_second = requests_per_second

    @contextmanager
    def slot(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait until one more request may start, and count it as under way for the time of the ``with`` block.

        Parameters
        ----------
        check
            Called a few times a second while waiting; what it raises ends the wait.
        """
        self._start(check, self._pause)
        try:
            yield
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify()

    def pace(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until one more request may start that is not counted as under way, so that no pixels hold it up."""
        self._start(check, self._pause_for_rate)
        with self._changed:
            self.in_flight -= 1

    def answered(self, *, restricted: bool = False) -> None:
        """Tell of an answer: the quota had room for it, so a little more is tried."""
        with self._changed:
            now = self._clock()
            self._tell_of_restriction(restricted)
            self._climb(now)

    def take_refusals(self) -> int:
        """Answers that said 429 since this was asked last: whoever counts them, each counts once.

        >>> gate = QuotaGate(max_concurrency=40, requests_per_second=100)
        >>> gate.refused()
        >>> gate.take_refusals(), gate.take_refusals()
        (1, 0)
        """
        with self._changed:
            taken, self._refusals = self._refusals, 0
            return taken

    def refused(self) -> None:
        """Tell of a 429 to a request that is still under way: give way to what got through besides it."""
        with self._changed:
            now = self._clock()
            self._refusals += 1
            self._refused.append(now)
            _forget(self._refused, now)
            _forget(self._starts, now)
            if now - self._last_cut >= WINDOW_SECONDS:
                log.info("The quota is used up: fewer requests from now on")
                self._last_cut = now
                self._least, self._least_per_second = self._limit * MOST_CUT, self._rate * MOST_CUT
            # Of requests that are refused together each answer shows a little better how many were not. Whether rate or
            # concurrency was too much is not said: what was under way besides is no less than either needs.
            through = len(self._starts) - len(self._refused)
            self._limit = max(1.0, self._least, min(self._limit, self.in_flight - 1))
            self._rate = max(1.0, self._least_per_second, min(self._rate, CUT * through))
            self._last_climb = now

    def _start(self, check: Callable[[], None], seconds_to_wait: Callable[[], float]) -> None:
        began = self._clock()
        with self._changed:
            while (pause := seconds_to_wait()) > 0:
                self._changed.wait(min(pause, CHECK_SECONDS))
                check()
            now = self._clock()
            self._starts.append(now)
            self.in_flight += 1
            self.waited_seconds += now - began

    def _pause(self) -> float:
        """Seconds to wait before one more request may start; 0 when it may now."""
        return CHECK_SECONDS if self.in_flight >= self.concurrency else self._pause_for_rate()

    def _pause_for_rate(self) -> float:
        now = self._clock()
        _forget(self._starts, now)
        allowed = max(1, math.floor(self._rate))
        wait = 0.0
        if self._rate < self._most_per_second and self._starts:
            # Once refused, requests start evenly: those that start together are refused together, whatever the rate.
            wait = self._starts[-1] + EVENLY / self._rate - now
        if len(self._starts) >= allowed:
            wait = max(wait, self._starts[-allowed] + WINDOW_SECONDS - now, 1e-4)
        return max(wait, 0.0)

    def _climb(self, now: float) -> None:
        peace = min(now - self._last_cut, 60.0)
        step = CLIMB_PER_SECOND * 2.0 ** (peace / DOUBLING_SECONDS) * min(now - self._last_climb, 1.0)
        self._limit = min(self._most, self._limit + step)
        self._rate = min(self._most_per_second, self._rate + step)
        self._last_climb = now

    def _tell_of_restriction(self, restricted: bool) -> None:
        if restricted != self._restricted:
            self._restricted = restricted
            if restricted:
                log.warning(
                    "Earth Engine restricts this project's parallelism, as its compute quota is used up: %d requests at once",
                    self.concurrency,
                )


_gates: weakref.WeakValueDictionary[tuple[str, str], QuotaGate] = weakref.WeakValueDictionary()
_gates_lock = threading.Lock()


def shared_gate(settings: ClientSettings, endpoint: str) -> QuotaGate:
    """The gate that all clients of this process share for a project and a host, as the service counts for these."""
    with _gates_lock:
        gate = _gates.get((endpoint, settings.project))
        if gate is None:
            gate = QuotaGate(max_concurrency=settings.max_concurrency, requests_per_second=settings.requests_per_second)
            _gates[endpoint, settings.project] = gate
        gate.widen(max_concurrency=settings.max_concurrency, requests_per_second=settings.requests_per_second)
        return gate


def _forget(moments: collections.deque[float], now: float) -> None:
    while moments and now - moments[0] >= WINDOW_SECONDS:
        moments.popleft()
