"""Whether there is room, and compute left, for another operation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import EecuBudgetExceeded, QueueFull
from airflow_ee.operators.export_identity import ExportIdentity

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Operation

__all__ = ["Admission", "RunBudget"]

# Airflow's own limit on mapped task instances, core.max_map_length, is 1024 unless it was raised.
MOST_MAP_INDEXES = 1024


@dataclass(frozen=True, slots=True)
class RunBudget:
    """The compute of all operations that the tasks of one DAG run have started."""

    max_eecu_seconds: float
    marks: frozenset[str]
    """Of the run's task instances."""

    @classmethod
    def of(cls, context: Context, namespace: str, max_eecu_seconds: float) -> RunBudget:
        """The budget of a task's DAG run: which operations are its own is told by the marks in their descriptions."""
        ti: Any = context["ti"]
        dag: Any = context["dag"]
        return cls(
            max_eecu_seconds,
            frozenset(
                ExportIdentity.of(namespace, (ti.dag_id, task_id, ti.run_id, map_index), {}).task_mark
                for task_id in dag.task_ids
                for map_index in range(-1, MOST_MAP_INDEXES)
            ),
        )

    def check(self, operations: Iterable[Operation]) -> None:
        """Look whether anything is left.

        :raises EecuBudgetExceeded: When the DAG run has used it up.
        """
        used = self.used(operations)
        if used >= self.max_eecu_seconds:
            raise EecuBudgetExceeded(
                f"The exports of this DAG run have used {used:g} EECU seconds of {self.max_eecu_seconds:g}: none is started any more."
            )

    def used(self, operations: Iterable[Operation]) -> float:
        """EECU seconds of those operations that are the run's."""
        return sum(item.eecu_seconds or 0.0 for item in operations if _task_mark(item.description) in self.marks)


@dataclass(frozen=True, slots=True)
class Admission:
    """What has to hold before another operation is started."""

    max_pending_operations: int | None = None
    """So many may wait in the project's queue, which takes 3,000; None: nobody looks."""
    run_budget: RunBudget | None = None

    def check(self, client: EarthEngineClient) -> None:
        """Look at the project's operations.

        :raises QueueFull: When too many wait.
        :raises EecuBudgetExceeded: When the DAG run has used up its compute.
        """
        if self.max_pending_operations is None and self.run_budget is None:
            return
        operations = list(client.list_operations())
        if self.run_budget is not None:
            self.run_budget.check(operations)
        pending = sum(operation.state == "PENDING" for operation in operations)
        if self.max_pending_operations is not None and pending >= self.max_pending_operations:
            raise QueueFull(f"{pending} operations wait in the queue of project {client.settings.project}.")


def _task_mark(description: str) -> str:
    """The part of a description that tells the task instance: ``...-ae-<task>-<content>-<number>``."""
    parts = description.rsplit("-", 4)
    return "-".join(parts[1:3]) if len(parts) == 5 else ""
