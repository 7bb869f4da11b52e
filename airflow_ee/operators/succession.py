"""Whether another try of the task has taken over, so that this one, which is being ended, leaves the operation to it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from airflow_ee.operators.starting import STATE_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["is_superseded"]

# Of the five seconds that a task has from SIGTERM to SIGKILL: what is left is for cancelling.
LOOK_SECONDS = 1.5
log = logging.getLogger(__name__)


def is_superseded(context: Context) -> bool:
    """
    Tell whether Airflow has given the task to another try while this one was still at work.

    When a scheduler is lost, another one starts its tasks anew; what the lost one had started lives on until its
    supervisor learns of that, and is ended then by SIGTERM, just as when a user kills the task. False where this cannot be learnt:
    before Airflow 3.3, or in time.

    :param context: Airflow's context.
    """
    found: list[bool] = []
    # In a thread: the signal may have come in the middle of a conversation with the supervisor, which would never end.
    looking = threading.Thread(target=lambda: found.append(_look(context)), daemon=True)
    looking.start()
    looking.join(LOOK_SECONDS)
    return found == [True]


def _look(context: Context) -> bool:
    """A try that was superseded sees no state any more, though it has kept some; the task itself is still there."""
    try:
        store: Any = context.get("task_state_store")
        if store is None or store.get(STATE_KEY) is not None:
            return False
        ti: Any = context["ti"]
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], map_index=ti.map_index, run_ids=[ti.run_id]
        )
    except Exception:
        log.exception("Could not learn whether another try goes on with the task")
        return False
    return bool(states.get(ti.run_id))
