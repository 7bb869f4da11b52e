"""Waits in the triggerer for operations that are known by their descriptions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_ee.core.operation_names import matching_operations
from airflow_ee.triggers.operation import settled
from airflow_ee.triggers.poller import EVERY_OPERATION, Watch
from airflow_ee.triggers.watching import WatchingTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import TriggerEvent

    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineDescriptionTrigger"]


class EarthEngineDescriptionTrigger(WatchingTrigger):
    """
    Wait until enough operations have descriptions of a pattern, and these have ended.

    Fires one event, ``{"status": "done" | "timeout" | "error", "message": ...}``; the worker asks for the operations itself.

    :param pattern: As in names of files: ``ndvi-*``.
    :param min_operations: So many have to be there.
    :param since: Only operations that were created then or later, ISO 8601; None: all that are listed.
    :param wait_for: ``all`` or ``any``, as the sensor has it.
    """

    def __init__(
        self, *, pattern: str, min_operations: int = 1, since: str | None = None, wait_for: str = "all", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pattern = pattern
        self.min_operations = min_operations
        self.since = since
        self.wait_for = wait_for

    def own_arguments(self) -> dict[str, Any]:
        """Return the arguments that only this trigger has, as JSON values."""
        return {
            "pattern": self.pattern,
            "min_operations": self.min_operations,
            "since": self.since,
            "wait_for": self.wait_for,
        }

    def watch(self) -> Watch:
        """Return a watch on all operations: which of them have the pattern changes."""
        return self.poller.watch(mark=EVERY_OPERATION, interval_seconds=self.poll_interval)

    def judge(self, watch: Watch, found: Mapping[str, Operation]) -> TriggerEvent | None:  # noqa: ARG002
        """
        Return the event that ends the wait, if one does.

        :param watch: What is looked at.
        :param found: All operations of the project, by name.
        """
        mine = matching_operations(found.values(), self.pattern, since=self.since)
        enough = len(mine) >= self.min_operations
        return self.event("done") if enough and settled([item.state for item in mine], self.wait_for) else None
