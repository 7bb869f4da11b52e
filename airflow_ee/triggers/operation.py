"""Waits for operations in the triggerer: polls and tells, never submits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_ee.core.errors import EarthEngineError

if TYPE_CHECKING:
    from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

__all__ = ["DEFERRAL_SLACK", "EarthEngineOperationTrigger", "deferral_timed_out", "settled"]

DEFERRAL_SLACK = timedelta(minutes=2)
"""Airflow's own limit on a deferral comes so much after the trigger's, which can tell what it saw."""

# The service may be out of reach for so long before waiting is given up; the operation goes on all the while.
TOLERATED_SECONDS = 900.0
# Fewer are asked for one by one, more by reading the project's list.
FEW_OPERATIONS = 5
# Airflow gives a trigger 30 seconds to see to what a user killed.
KILL_SECONDS = 20.0
KILL_POLL_SECONDS = 1.0
JITTER = (0.8, 1.2)


class EarthEngineOperationTrigger(BaseTrigger):
    """
    Wait for operations to end.

    Fires one event, ``{"status": "done" | "timeout" | "error", "operations": [...], "message": ...}``; the worker asks for
    the operations itself then. A restart of the triggerer loses nothing and cancels nothing.

    :param operation_names: Full names.
    :param project_id: Cloud project that is billed.
    :param gcp_conn_id: The Airflow connection.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param poll_interval: Seconds between two looks.
    :param wait_for: ``all`` ends with the last operation or the first failure, ``any`` with the first success.
    :param deadline: Moment, in seconds of the epoch, at which waiting is given up; None: never.
    :param cancel_on_kill: Whether a user who kills the task cancels the operations too (Airflow 3.3 and newer).
    """

    def __init__(
        self,
        *,
        operation_names: Sequence[str],
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 30.0,
        wait_for: str = "all",
        deadline: float | None = None,
        cancel_on_kill: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operation_names = list(operation_names)
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.wait_for = wait_for
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self._hook: EarthEngineAsyncHook | None = None
        self._states: dict[str, str] = dict.fromkeys(self.operation_names, "")
        self._failing_since: float | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        chain = self.impersonation_chain
        return (
            "airflow_ee.triggers.operation.EarthEngineOperationTrigger",
            {
                "operation_names": self.operation_names,
                "project_id": self.project_id,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": chain if chain is None or isinstance(chain, str) else list(chain),
                "poll_interval": self.poll_interval,
                "wait_for": self.wait_for,
                "deadline": self.deadline,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the operations until they are settled, the deadline has passed, or nothing can be learnt of them."""
        hook = await self._get_hook()
        while True:
            try:
                await self._look(hook)
            except EarthEngineError as error:
                if self._gives_up_after(error):
                    yield self._event("error", str(error))
                    return
            else:
                self._failing_since = None
            if settled(self._states.values(), self.wait_for):
                yield self._event("done")
                return
            if self.deadline is not None and time.time() >= self.deadline:
                yield self._event("timeout", "the deadline has passed")
                return
            await asyncio.sleep(self._pause())

    async def on_kill(self) -> None:
        """Cancel the operations when a user kills the waiting task, and see them cancelled if that is quick."""
        if not self.cancel_on_kill:
            return
        hook = await self._get_hook()
        names = [name for name, state in self._states.items() if state not in ENDED]
        for name in names:
            self.log.info("The task was killed: cancelling %s", name)
            await hook.cancel_operation(name)
        end = time.monotonic() + KILL_SECONDS
        while time.monotonic() < end and not settled([self._states[name] for name in names], "each"):
            await asyncio.sleep(KILL_POLL_SECONDS)
            await self._look(hook)

    async def _get_hook(self) -> EarthEngineAsyncHook:
        if self._hook is None:
            self._hook = await asyncio.to_thread(self._make_hook)
        return self._hook

    def _make_hook(self) -> EarthEngineAsyncHook:
        # Imported in a thread: Google's hooks take seconds to import, and the loop serves all triggers of the process.
        from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

        return EarthEngineAsyncHook(
            project_id=self.project_id, gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain
        )

    async def _look(self, hook: EarthEngineAsyncHook) -> None:
        open_names = [name for name, state in self._states.items() if state not in ENDED]
        found = {}
        if len(open_names) > FEW_OPERATIONS:
            found = {operation.name: operation for operation in await hook.list_operations()}
        for name in open_names:
            # Ended operations may no longer be listed.
            operation = found.get(name) or await hook.get_operation(name)
            if operation.state != self._states[name]:
                self.log.info("%s is %s", name, operation.state)
            self._states[name] = operation.state

    def _gives_up_after(self, error: EarthEngineError) -> bool:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        self.log.warning("Could not look at %d operation(s): %s", len(self._states), error)
        return not error.retryable or now - self._failing_since > TOLERATED_SECONDS

    def _pause(self) -> float:
        # Many triggers that began together do not ask together for ever.
        pause = self.poll_interval * random.uniform(*JITTER)
        return pause if self.deadline is None else max(0.0, min(pause, self.deadline - time.time()))

    def _event(self, status: str, message: str = "") -> TriggerEvent:
        payload = {"status": status, "operations": self.operation_names, "message": message}
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]


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
