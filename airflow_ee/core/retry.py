"""A call made again while it fails for passing reasons."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from airflow_ee.core.errors import EarthEngineError, QueueFull
from airflow_ee.core.settings import RetryPolicy

__all__ = ["Retrier"]

Result = TypeVar("Result")
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

    def call(self, what: str, function: Callable[[], Result], *, repeatable: bool = True) -> Result:
        """Return ``function()``, called again after failures whose class says ``retryable``.

        Parameters
        ----------
        what
            Name of the call, for the log.
        repeatable
            False for a call that must not happen twice, such as an export without a requestId.

        Raises
        ------
        EarthEngineError
            The last failure, when it is permanent, or attempts or time are used up.
        """
        started = self._clock()
        for attempt in range(1, self.policy.attempts + 1):
            try:
                return function()
            except EarthEngineError as error:
                wait = self._wait_seconds(error, attempt)
                # A queue of thousands of tasks is not shorter in seconds; Airflow's own retries wait longer.
                passing = error.retryable and repeatable and not isinstance(error, QueueFull)
                late = self._clock() - started + wait > self.policy.total_seconds
                if not passing or attempt == self.policy.attempts or late:
                    raise
                log.warning("%s failed (attempt %d), again in %.1f s: %s", what, attempt, wait, error)
            self._sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait_seconds(self, error: EarthEngineError, attempt: int) -> float:
        longest = min(self.policy.initial_seconds * 2.0 ** (attempt - 1), self.policy.maximum_seconds)
        return max(self._uniform(0.0, longest), error.retry_after_seconds or 0.0)
