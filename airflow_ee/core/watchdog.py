"""Whether a running operation moves, and what it costs. Apart from those who ask the service: triggers are light."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_ee.core.errors import EecuBudgetExceeded, OperationStuck
from airflow_ee.core.resources import Operation

__all__ = ["Watchdog"]


@dataclass(slots=True)
class Watchdog:
    """Looks whether an operation moves, and what it costs.

    >>> now = [0.0]
    >>> dog = Watchdog(stuck_after_seconds=60, clock=lambda: now[0])
    >>> running = Operation(name="projects/p/operations/A", state="RUNNING", progress=0.5)
    >>> dog.check(running)
    >>> now[0] = 61.0
    >>> dog.check(running)
    Traceback (most recent call last):
    airflow_ee.core.errors.OperationStuck: projects/p/operations/A has been RUNNING at 50 % in attempt 1 for 61 s, and nothing of it changes. [OPERATION_STUCK]
    """

    stuck_after_seconds: float | None = None
    """Longest time in which state, progress, stages and attempt of a running operation stay the same. One that waits in the queue is
    not stuck."""
    max_eecu_seconds: float | None = None
    """Most compute that the operation may use."""
    clock: Callable[[], float] = time.monotonic
    _signature: tuple[Any, ...] | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def check(self, operation: Operation) -> None:
        """Take note of a look at the operation.

        Raises
        ------
        OperationStuck, EecuBudgetExceeded
            When it is so; nothing was done about it.
        """
        now = self.clock()
        if operation.signature != self._signature:
            self._signature, self._since = operation.signature, now
        if operation.done:
            return
        used, allowed = operation.eecu_seconds or 0.0, self.max_eecu_seconds
        if allowed is not None and used > allowed:
            raise EecuBudgetExceeded(f"{operation.name} has used {used:g} EECU seconds of {allowed:g}.")
        limit, still = self.stuck_after_seconds, now - self._since
        if limit is not None and operation.state != "PENDING" and still > limit:
            raise OperationStuck(
                f"{operation.name} has been {operation.state} at {100 * operation.progress:.0f} % in attempt {operation.attempt} "
                f"for {still:.0f} s, and nothing of it changes."
            )
