"""Waits for operations in the triggerer: polls and tells, never submits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import EecuBudgetExceeded, OperationStuck
from airflow_ee.core.watchdog import Watchdog
from airflow_ee.triggers.cancelling import KILL_SECONDS, CancellingTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_ee.core.resources import Operation
    from airflow_ee.triggers.poller import Watch

__all__ = ["DEFERRAL_SLACK", "EarthEngineOperationTrigger", "deferral_timed_out", "settled"]

DEFERRAL_SLACK = timedelta(minutes=2)
"""Airflow's own limit on a deferral comes so much after the trigger's, which can tell what it saw."""

KILL_POLL_SECONDS = 1.0


class EarthEngineOperationTrigger(CancellingTrigger):
    """
    Wait for operations to end.

    Fires one event, ``{"status": ..., "operations": [...], "message": ...}``: ``done``, ``timeout``, ``stuck``,
    ``over_budget`` or ``error``; the worker asks for the operations itself then. A restart of the triggerer loses nothing
    and cancels nothing.

    :param operation_names: Full names.
    :param wait_for: ``all`` ends with the last operation or the first failure, ``any`` with the first success.
    :param cancel_on_kill: Whether a user who ends the task cancels the operations too; a task that is cleared keeps them.
    :param stuck_after_seconds: A running operation of which nothing changes for so long is told as stuck; None: never. A
        restart of the triggerer begins to count anew.
    :param max_eecu_seconds: An operation that has used more compute is told as over its budget; None: none is.
    """

    def __init__(
        self,
        *,
        operation_names: Sequence[str],
        wait_for: str = "all",
        stuck_after_seconds: float | None = None,
        max_eecu_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.operation_names = list(operation_names)
        self.wait_for = wait_for
        self.stuck_after_seconds = stuck_after_seconds
        self.max_eecu_seconds = max_eecu_seconds
        self._states: dict[str, str] = dict.fromkeys(self.operation_names, "")
        self._watchdogs = {name: Watchdog(stuck_after_seconds, max_eecu_seconds) for name in self.operation_names}

    def own_arguments(self) -> dict[str, Any]:
        """Return the arguments that only this trigger has, as JSON values."""
        return {
            "operation_names": self.operation_names,
            "wait_for": self.wait_for,
            "cancel_on_kill": self.cancel_on_kill,
            "stuck_after_seconds": self.stuck_after_seconds,
            "max_eecu_seconds": self.max_eecu_seconds,
        }

    def watch(self) -> Watch:
        """Return a watch on the operations."""
        return self.poller.watch(names=frozenset(self.operation_names), interval_seconds=self.poll_interval)

    def judge(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:
        """
        Return the event that ends the wait, if one does.

        :param watch: What is looked at.
        :param found: Operations that the look has found, by name.
        """
        for name, operation in found.items():
            if operation.state != self._states[name]:
                self.log.info("%s is %s", name, operation.state)
            self._states[name] = operation.state
            if operation.done:
                watch.forget(name)
            try:
                self._watchdogs[name].check(operation)
            except OperationStuck as error:
                return self.event("stuck", error.message)
            except EecuBudgetExceeded as error:
                return self.event("over_budget", error.message)
        return self.event("done") if settled(self._states.values(), self.wait_for) else None

    def told(self) -> dict[str, Any]:
        """Return what each event tells besides status and message."""
        return {"operations": self.operation_names}

    async def cancel(self) -> None:
        """Cancel the operations, and see them cancelled if that is quick."""
        hook = await self.get_hook()
        names = [name for name, state in self._states.items() if state not in ENDED]
        for name in names:
            self.log.info("The task was killed: cancelling %s", name)
            await hook.cancel_operation(name)
        end = time.monotonic() + KILL_SECONDS
        while names and time.monotonic() < end:
            await asyncio.sleep(KILL_POLL_SECONDS)
            names = [name for name in names if not (await hook.get_operation(name)).done]


def deferral_timed_out(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Whether Airflow resumes a task because its deferral took too long, and not because its trigger broke.

    >>> deferral_timed_out("__fail__", {"error": "Trigger timeout"}), deferral_timed_out("execute_complete", None)
    (True, False)
    """
    return next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout"


ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


def settled(states: Collection[str], wait_for: str) -> bool:
    """Whether more waiting can change nothing.

    >>> settled(["SUCCEEDED", "RUNNING"], "any"), settled(["FAILED", "RUNNING"], "all"), settled([], "all")
    (True, True, True)
    """
    if all(state in ENDED for state in states):
        return True
    if wait_for == "any":
        return "SUCCEEDED" in states
    return wait_for == "all" and not {"FAILED", "CANCELLED"}.isdisjoint(states)
