"""Waits in the triggerer while the operations of one task, thousands maybe, come to their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import EarthEngineError, OperationStuck
from airflow_ee.core.watchdog import Watchdog
from airflow_ee.triggers.cancelling import KILL_SECONDS, CancellingTrigger
from airflow_ee.triggers.poller import EVERY_OPERATION

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_ee.core.resources import Operation
    from airflow_ee.triggers.poller import Watch

__all__ = ["EarthEngineCollectionTrigger"]

CANCELS_AT_ONCE = 8
MOST_NAMES = 20


class EarthEngineCollectionTrigger(CancellingTrigger):
    """
    Wait until few enough operations of a task go on, and few enough of the project wait in its queue.

    Which operations are the task's is told by the mark in their descriptions, so no name of any of them is kept here. Fires
    one event, ``{"status": "room" | "stuck" | "over_budget" | "timeout" | "error", "operations": [...], "message": ...}``;
    only of stuck ones names are told, at most 20. A restart of the triggerer loses nothing and cancels nothing.

    :param task_mark: What descriptions of the task's operations have in them.
    :param underway_at_most: So many of the task's may go on.
    :param pending_at_most: So many of the project's may wait in the queue; None: any number.
    :param cancel_on_kill: Whether a user who ends the task cancels the operations too; a task that is cleared keeps them.
    :param stuck_after_seconds: A running operation of which nothing changes for so long is told as stuck; None: never. Each
        deferral begins to count anew.
    :param max_eecu_seconds: When the task's operations have used more compute together, that is told; None: never.
    """

    def __init__(
        self,
        *,
        task_mark: str,
        underway_at_most: int = 0,
        pending_at_most: int | None = None,
        stuck_after_seconds: float | None = None,
        max_eecu_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task_mark = task_mark
        self.underway_at_most = underway_at_most
        self.pending_at_most = pending_at_most
        self.stuck_after_seconds = stuck_after_seconds
        self.max_eecu_seconds = max_eecu_seconds
        self._watchdogs: dict[str, Watchdog] = {}
        self._underway: int | None = None
        self._stuck: list[str] = []

    def own_arguments(self) -> dict[str, Any]:
        """Return the arguments that only this trigger has, as JSON values."""
        return {
            "task_mark": self.task_mark,
            "underway_at_most": self.underway_at_most,
            "pending_at_most": self.pending_at_most,
            "cancel_on_kill": self.cancel_on_kill,
            "stuck_after_seconds": self.stuck_after_seconds,
            "max_eecu_seconds": self.max_eecu_seconds,
        }

    def watch(self) -> Watch:
        """Return a watch on the task's operations, or on all where the queue counts."""
        mark = f"-{self.task_mark}-" if self.pending_at_most is None else EVERY_OPERATION
        return self.poller.watch(mark=mark, interval_seconds=self.poll_interval)

    def judge(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:  # noqa: ARG002
        """
        Return the event that ends the wait, if one does.

        :param watch: What is looked at.
        :param found: Operations that the look has found, by name.
        """
        own = self._own(found.values())
        underway = [item for item in own if not item.done]
        if len(underway) != self._underway:
            self.log.info("%d of %d operations go on", len(underway), len(own))
            self._underway = len(underway)
        self._stuck = self._look_for_stuck(underway)
        if self._stuck:
            return self.event("stuck", f"{len(self._stuck)} operations are stuck")
        used = sum(item.eecu_seconds or 0.0 for item in own)
        if self.max_eecu_seconds is not None and used > self.max_eecu_seconds and underway:
            return self.event("over_budget", f"{used:g} EECU seconds are used")
        pending = sum(item.state == "PENDING" for item in found.values())
        crowded = self.pending_at_most is not None and pending > self.pending_at_most
        return None if crowded or len(underway) > self.underway_at_most else self.event("room")

    def told(self) -> dict[str, Any]:
        """Return what each event tells besides status and message."""
        return {"operations": self._stuck[:MOST_NAMES]}

    async def cancel(self) -> None:
        """Cancel the task's operations: as many as there is time for."""
        try:
            await asyncio.wait_for(self._cancel_all(), KILL_SECONDS)
        except TimeoutError:
            self.log.warning("No time is left to cancel all operations of %s", self.task_mark)

    async def _cancel_all(self) -> None:
        hook = await self.get_hook()
        room = asyncio.Semaphore(CANCELS_AT_ONCE)

        async def cancel(operation: Operation) -> None:
            async with room:
                try:
                    await hook.cancel_operation(operation.name)
                except EarthEngineError as error:
                    # It has ended meanwhile, or the next one may still be cancelled.
                    self.log.warning("%s could not be cancelled: %s", operation.name, error)

        open_ones = [item for item in self._own(await hook.list_operations()) if not item.done]
        self.log.info("The task was killed: cancelling %d operations", len(open_ones))
        # What runs costs more than what waits.
        await asyncio.gather(*map(cancel, sorted(open_ones, key=lambda item: item.state == "PENDING")))

    def _own(self, operations: Iterable[Operation]) -> list[Operation]:
        return [item for item in operations if f"-{self.task_mark}-" in item.description]

    def _look_for_stuck(self, underway: Sequence[Operation]) -> list[str]:
        if self.stuck_after_seconds is None:
            return []
        self._watchdogs = {
            item.name: self._watchdogs.get(item.name) or Watchdog(self.stuck_after_seconds) for item in underway
        }
        stuck = []
        for item in underway:
            try:
                self._watchdogs[item.name].check(item)
            except OperationStuck as error:
                self.log.warning("%s", error.message)
                stuck.append(item.name)
        return stuck
