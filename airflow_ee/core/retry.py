"""A call made again while it fails for passing reasons."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from airflow_ee.core.errors import EarthEngineError, MalformedResponse, QueueFull, Stopped
from airflow_ee.core.settings import RetryPolicy

__all__ = ["Retrier"]

Result = TypeVar("Result")
SPOILT_SECONDS = 0.5
"""Longest wait after an answer that was spoilt on its way."""
SPOILT_ATTEMPTS = 3
"""As often a spoilt answer is asked for at least: who wants no retries means that the service's refusals shall stand."""
log = logging.getLogger(__name__)


class Retrier:
    """Applies a :class:`RetryPolicy`; time and chance are injected so that tests need neither.

    >>> Retrier(RetryPolicy()).call("square", lambda: 3 * 3)
    9
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.policy, self._sleep, self._clock, self._uniform = policy, sleep, clock, uniform

    def call(
        self, what: str, function: Callable[[], Result], *, repeatable: bool = True, patient: bool = False
    ) -> Result:
        """Return ``function()``, called again after failures whose class says ``retryable``.

        Parameters
        ----------
        what
            Name of the call, for the log.
        repeatable
            False for a call that must not happen twice, such as an export without a requestId.
        patient
            True for a call that waits for its turn itself: to be told that there were too many requests is no failure of it,
            counts as no attempt, and is waited out as long as ``total_seconds``.

        Raises
        ------
        EarthEngineError
            The last failure, when it is permanent, or attempts or time are used up.
        """
        started, attempt = self._clock(), 1
        while True:
            try:
                return function()
            except EarthEngineError as error:
                turned_away = patient and error.throttled
                wait = (error.retry_after_seconds or 0.0) if turned_away else self._wait_seconds(error, attempt)
                # A queue of thousands of tasks is not shorter in seconds; Airflow's own retries wait longer.
                passing = error.retryable and repeatable and not isinstance(error, QueueFull | Stopped)
                late = self._clock() - started + wait > self.policy.total_seconds
                if not passing or late or (attempt >= self._most(error) and not turned_away):
                    raise
                if not turned_away:
                    log.warning("%s failed (attempt %d), again in %.1f s: %s", what, attempt, wait, error)
                    attempt += 1
            self._sleep(wait)

    def _most(self, error: EarthEngineError) -> int:
        return max(self.policy.attempts, SPOILT_ATTEMPTS if isinstance(error, MalformedResponse) else 0)

    def _wait_seconds(self, error: EarthEngineError, attempt: int) -> float:
        if isinstance(error, MalformedResponse):
            # Nothing is wrong with the service: the answer was spoilt on its way.
            return self._uniform(0.0, SPOILT_SECONDS)
        longest = min(self.policy.initial_seconds * 2.0 ** (attempt - 1), self.policy.maximum_seconds)
        return max(self._uniform(0.0, longest), error.retry_after_seconds or 0.0)
