"""What becomes of operations when a task is told to end: cancelled for its user, or left to the try that goes on with them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_ee.operators.starting import STATE_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["end_task", "goes_on"]

# Airflow leaves a task five seconds from SIGTERM to SIGKILL: so many for learning why, what is left is for cancelling.
LOOK_SECONDS = 3.0
# The signal's handler waits so long for that. Then it returns, for the signal may have come in the middle of a conversation with
# the supervisor, which has to end before another one can begin.
HANDLER_SECONDS = 0.5
# States of a task that is not over, and of one that is to be scheduled, which has none.
UNFINISHED = frozenset(
    {None, "scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred"}
)
log = logging.getLogger(__name__)


def end_task(
    context: Context | None,
    *,
    what: str,
    cancel: Callable[[], None],
    seconds: float,
) -> threading.Thread:
    """
    Cancel operations of a task that is told to end, unless a try of the task goes on with them: for ``on_kill``.

    Waits until that is done, or ``seconds`` are over; if Airflow is slow to tell why the task has to end, it returns before. The
    thread that it returns sees to the rest: whoever is about to end the process joins it.

    :param context: Airflow's context; None: the task is not at work.
    :param what: The operations, for the log.
    :param cancel: Cancels them; it bounds itself.
    :param seconds: How long all of it may take.
    """
    learnt = threading.Event()

    def end() -> None:
        try:
            left = context is not None and goes_on(context)
        finally:
            learnt.set()
        if left:
            log.info("Another try goes on with the task: %s is left to it", what)
            return
        log.info("The task was killed: cancelling %s", what)
        cancel()

    end_at = time.monotonic() + seconds
    # Only waiting for a thread is bounded in all: name lookups, tokens, connects and reads each have their own limit.
    ending = threading.Thread(target=end, name="earth-engine-end-task", daemon=True)
    ending.start()
    if learnt.wait(min(seconds, HANDLER_SECONDS)):
        ending.join(max(0.0, end_at - time.monotonic()))
        if ending.is_alive():
            log.warning("No time is left to see %s cancelled", what)
    return ending


def goes_on(context: Context) -> bool:
    """
    Tell whether a try of the task goes on, or will, with what this one leaves, though this one is told to end.

    A user's deeds end a task, and Airflow's database says so before the signal comes: it has failed or succeeded, or is gone with its
    run. Else the signal comes because this try was given up and not the task. A scheduler or an executor was lost, and Airflow has
    started the task anew; the user has cleared it; its worker is being shut down, and the task has retries. Where Airflow does not
    answer in time, a task that has retries goes on.

    :param context: Airflow's context.
    """
    answers: list[bool] = []
    looking = threading.Thread(target=lambda: answers.extend(_look(context)), name="earth-engine-look", daemon=True)
    looking.start()
    looking.join(LOOK_SECONDS)
    if answers:
        return answers[0]
    log.warning("Could not learn in %g s whether the task is over or only this try", LOOK_SECONDS)
    return _has_retries(context)


def _look(context: Context) -> list[bool]:
    """What Airflow tells; empty when it cannot."""
    ti: Any = context["ti"]
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], map_index=ti.map_index, run_ids=[ti.run_id]
        )
        found = list(states.get(ti.run_id, {}).values())
        if not found or found[0] not in UNFINISHED:
            return [False]
        return [found[0] != "running" or _has_retries(context) or _is_history(context)]
    except Exception:
        log.exception("Airflow did not tell whether the task is over or only this try")
        return []


def _is_history(context: Context) -> bool:
    """Whether another try has taken this one's place: then this one sees no state any more (Airflow 3.3), though it has kept some."""
    store: Any = context.get("task_state_store")
    return store is not None and store.get(STATE_KEY) is None


def _has_retries(context: Context) -> bool:
    ti: Any = context["ti"]
    return bool(ti.try_number <= ti.max_tries)
