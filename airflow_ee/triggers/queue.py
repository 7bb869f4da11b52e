"""Waits in the triggerer for room in a project's queue of operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_ee.triggers.poller import EVERY_OPERATION, Watch
from airflow_ee.triggers.watching import WatchingTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineQueueTrigger"]


class EarthEngineQueueTrigger(WatchingTrigger):
    """
    Wait until fewer operations than a limit wait in a project's queue.

    Of several that wait in one triggerer those that came first go first, and in one look no more of them than there is room
    for; one that is refused all the same waits again. Fires one event, ``{"status": "room" | "timeout" | "error", "message": ...}``.

    :param max_pending_operations: The limit.
    """

    def __init__(self, *, max_pending_operations: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_pending_operations = max_pending_operations

    def own_arguments(self) -> dict[str, Any]:
        """Return the arguments that only this trigger has, as JSON values."""
        return {"max_pending_operations": self.max_pending_operations}

    def watch(self) -> Watch:
        """Return a place in the line."""
        return self.poller.watch(mark=EVERY_OPERATION, interval_seconds=self.poll_interval, in_line=True)

    def judge(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:
        """
        Return the event that ends the wait, if it is this one's turn.

        :param watch: The place in the line.
        :param found: All operations of the project, by name.
        """
        room = self.max_pending_operations - sum(operation.state == "PENDING" for operation in found.values())
        return self.event("room") if self.poller.rank(watch) < room else None
