"""What becomes of operations when the wait of a trigger is ended: cancelled for a user, and left where the task goes on."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_ee.triggers.watching import WatchingTrigger

__all__ = ["AIRFLOW_TELLS", "KILL_SECONDS", "CancellingTrigger"]

AIRFLOW_TELLS = hasattr(BaseTrigger, "on_kill")
"""Whether Airflow calls ``on_kill`` of a trigger; before 3.3 it cancels the trigger's coroutine alone, for whatever reason."""

KILL_SECONDS = 20.0
"""Airflow gives a trigger 30 seconds to see to what a user killed."""

# A task that was cleared, or whose deferral took too long, is on its way to a worker; one that another triggerer has taken over
# is deferred still: these are no ends.
_ENDS = frozenset({"success", "failed", "skipped"})


class CancellingTrigger(WatchingTrigger):
    """
    Looks at operations that are cancelled when a user ends their task while it waits.

    A user who clears the task begins it anew: its next try goes on with the operations, or cancels them if it asks for others.

    :param cancel_on_kill: Whether a user who ends the task cancels them.
    """

    def __init__(self, *, cancel_on_kill: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cancel_on_kill = cancel_on_kill

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to tell, the deadline has passed, or nothing can be learnt."""
        try:
            async for event in super().run():
                yield event
        except asyncio.CancelledError:
            if not AIRFLOW_TELLS and self.cancel_on_kill and self.task_instance is not None:
                await _to_the_end(self._cancel_if_over())
            raise

    async def on_kill(self) -> None:
        """Cancel the operations, unless the task was cleared: Airflow 3.3 calls this for both, and for nothing else."""
        if not self.cancel_on_kill:
            return
        if self.task_instance is None:
            await self.cancel()
            return
        await _to_the_end(self._cancel_if_over())

    @abstractmethod
    async def cancel(self) -> None:
        """Cancel what goes on, within :data:`KILL_SECONDS`."""

    async def _cancel_if_over(self) -> None:
        try:
            over = await _is_over(self.task_instance)
        except Exception:
            # Where Airflow tells of kills, that is what has happened; before, it would have been a restart most often.
            over = AIRFLOW_TELLS
            self.log.exception("Airflow did not tell whether the task is over")
        if over:
            await self.cancel()
        else:
            self.log.info("The task goes on, and has its operations")


async def _is_over(task_instance: Any) -> bool:
    """Whether the task of a trigger has come to an end, or is gone; nothing but a user brings that about while it is deferred."""
    # Here and not above: it comes with all that runs tasks, and the loop serves all triggers of the process.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    found = list(states.get(task_instance.run_id, {}).values())
    return not found or found[0] in _ENDS


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
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
