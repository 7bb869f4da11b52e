"""Whether it was a user who ended the wait of a trigger, for Airflows that do not say so: those before 3.3."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async

__all__ = ["AIRFLOW_TELLS", "ended_by_user", "to_the_end"]

AIRFLOW_TELLS = hasattr(BaseTrigger, "on_kill")
"""Whether Airflow calls ``on_kill`` of a trigger; before it cancels the trigger's coroutine alone, for whatever reason."""

# A task whose deferral took too long, or that was cleared, is on its way to a worker; one that another triggerer has taken over
# is deferred still: these are no ends.
_ENDS = frozenset({"success", "failed", "skipped"})


async def ended_by_user(task_instance: Any) -> bool:
    """Whether the task of a cancelled trigger has come to an end; nothing but a user brings that about while it is deferred.

    Parameters
    ----------
    task_instance
        What Airflow has told the trigger of its task; None: nothing.
    """
    if task_instance is None:
        return False
    # Here and not above: it comes with all that runs tasks, and the loop serves all triggers of the process.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    of_run = states.get(task_instance.run_id, {})
    return any(state in _ENDS for state in of_run.values())


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do some work wholly, although Airflow goes on cancelling: once a second, until the trigger is gone.

    A question to Airflow that is cancelled before its answer would leave that to the next who asks, which ends the triggerer.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
