"""Starting an operation once, whatever happens to workers and answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import Aborted, DuplicateRequest, NotFound, QueueFull
from airflow_ee.core.operations import attempt_number, find_marked
from airflow_ee.core.resources import Operation
from airflow_ee.operators.export_identity import ExportIdentity

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.batch import BatchRequest
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.hooks.earth_engine import EarthEngineHook

__all__ = ["Memory", "NoRoom", "Starter", "instance_of"]

STATE_KEY = "earth_engine_export"
# So many ids in a row may turn out to be used up before a try gives in; the next one goes on behind them.
MOST_NUMBERS = 10
log = logging.getLogger(__name__)


class NoRoom(Exception):
    """The project's queue is full."""

    def __init__(self, words: str, number: int) -> None:
        super().__init__(words, number)
        self.words = words
        self.number = number
        """The last one that must not be asked under again: a request that is refused uses its id up."""


def instance_of(context: Context) -> tuple[str, str, str, int]:
    """What tells a task instance from all others; Airflow's count of tries is no part of it."""
    ti: Any = context["ti"]
    return ti.dag_id, ti.task_id, ti.run_id, ti.map_index


@dataclass(frozen=True, slots=True)
class Memory:
    """What a task leaves to its next try, in Airflow's state store where there is one (3.3 and newer)."""

    store: Any
    """None: there is no store."""
    series: int
    """What a clearing changes and a retry does not: a clearing adds to the tries that Airflow allows."""

    @classmethod
    def of(cls, context: Context) -> Memory:
        """The memory of the task instance."""
        ti: Any = context["ti"]
        return cls(context.get("task_state_store"), int(ti.max_tries))

    def known(self) -> dict[str, Any] | None:
        """What an earlier try has left; None without a store, or before the first try."""
        return None if self.store is None else self.store.get(STATE_KEY) or None

    def remember(self, identity: ExportIdentity, number: int, operation: str, *, refused: bool = False) -> None:
        """Keep which operation is the task's; empty while that is not known yet, or when the service took none."""
        if self.store is not None:
            value = {"mark": identity.mark, "number": number, "operation": operation, "series": self.series}
            self.store.set(STATE_KEY, {**value, "refused": True} if refused else value)

    def knows_in_this_series(self, identity: ExportIdentity) -> bool:
        """Whether an earlier try since the last clearing has seen to this operation already."""
        known = self.known()
        return known is not None and known["mark"] == identity.mark and known.get("series") == self.series


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """Starts the operation of one task instance, or finds the one that an earlier try has started."""

    hook: EarthEngineHook
    client: EarthEngineClient
    identity: ExportIdentity
    memory: Memory
    words: str
    """That begin the description."""
    request_id: str | None = None
    """A requestId of the user's own."""
    cancel_replaced: bool = True
    """Whether operations that earlier tries have started at another request, and that go on, are cancelled."""
    killed: Callable[[], bool] = lambda: False
    """Whether the task was told to end: nothing is started then."""
    admit: Callable[[], None] = lambda: None
    """Raises when nothing may be started now."""

    def start_or_find(self, request: BatchRequest, *, anew: bool, above: int = 0) -> Operation:
        """Start it, unless it goes on or has succeeded already.

        Parameters
        ----------
        anew
            Start it even where it has succeeded.
        above
            Numbers up to this one are used up.

        Raises
        ------
        NoRoom
            When the project's queue is full.
        """
        number, operation = self._earlier(anew=anew)
        changed = number < 0
        if changed:
            number, operation = self.latest()
        if operation is not None and (not operation.done or (_succeeded(operation) and not anew and not changed)):
            log.info("This was started before: %s is %s", operation.name, operation.state)
        else:
            number, operation = self._start(request, max(number, above) + 1)
        self.memory.remember(self.identity, number, operation.name)
        return operation

    def latest(self) -> tuple[int, Operation | None]:
        """Number and operation of the latest attempt that the service lists; 0 where it lists none.

        What it lists of the same task for other requests is cancelled, if so wished.
        """
        listed = list(self.client.list_operations())
        if self.cancel_replaced:
            self._end_replaced(listed)
        found = find_marked(listed, self.identity.mark)
        if not found:
            return 0, None
        return attempt_number(found[-1].description, self.identity.mark) or 0, found[-1]

    def _end_replaced(self, operations: Sequence[Operation]) -> None:
        """A user who corrects a request and clears its task wants the one export, and not the other as well."""
        for operation in operations:
            ours = f"-{self.identity.task_mark}-" in operation.description
            if ours and not operation.done and attempt_number(operation.description, self.identity.mark) is None:
                log.info("The request has changed since %s was started: cancelling it", operation.name)
                self.client.cancel_operation(operation.name)

    def _earlier(self, *, anew: bool) -> tuple[int, Operation | None]:
        """Number and operation of the latest attempt; 0 when there is none, -1 when it was at another request."""
        known = self.memory.known()
        if known is None:
            # A store that Airflow cleared after success knows nothing: to start anew, the number has to be a new one.
            return self.latest() if anew or self.memory.store is None else (0, None)
        if known["mark"] != self.identity.mark:
            return -1, None
        if not known["operation"]:
            return known["number"] - (not known.get("refused")), None
        try:
            return known["number"], self.client.get_operation(known["operation"])
        except NotFound:
            log.warning("%s of an earlier try is no longer known", known["operation"])
        number, operation = self.latest()
        # Ids below the remembered number are used up; its own may be: the service tells when it is asked.
        return (number, operation) if number >= known["number"] else (known["number"] - 1, None)

    def _start(self, request: BatchRequest, number: int) -> tuple[int, Operation]:
        """Ask under ``number``, and on under the next one while that gives nothing of use."""
        first = number
        try:
            self.admit()
        except QueueFull as full:
            raise NoRoom(full.message, number - 1) from full
        while number < first + MOST_NUMBERS:
            if self.killed():
                raise RuntimeError("The task was killed before its operation was started")
            operation = self._submit(request, number)
            if operation is None:
                log.warning("Number %d of this request is used up, and no operation is listed for it", number)
                number += 1
                continue
            number = attempt_number(operation.description, self.identity.mark) or number
            if _succeeded(operation) or not operation.done or self.request_id:
                return number, operation
            number += 1
        # Not permanent: a list catches up, a queue empties, and what the state store remembers is not tried again.
        raise Aborted(
            f"The service says that it has this request under each number from {first} to {number - 1}, and project "
            f"{self.client.settings.project} lists no operation with the mark {self.identity.mark} that goes on or has succeeded. "
            "Try again later, or give a request_id of your own."
        )

    def _submit(self, request: BatchRequest, number: int) -> Operation | None:
        """Ask under one number; None when its id is used up and no operation of it can be found."""
        # Before the request: a try that dies during it is followed by one that asks with the same id.
        self.memory.remember(self.identity, number, "")
        request = replace(request, description=self.identity.describe(self.words, number))
        request_id = self.request_id or self.identity.request_id(number)
        log.info(
            "Requesting %s %s to %s as %s", request.method, request_id, request.destination.uri, self.hook.principal
        )
        try:
            operation = self.hook.start_once(self.client, request, request_id=request_id, mark=self.identity.mark)
        except QueueFull as full:
            self.memory.remember(self.identity, number, "", refused=True)
            raise NoRoom(full.message, number) from full
        if operation is not None or not self.request_id:
            return operation
        # An id of one's own has no number in it: what it started may be listed under an earlier one.
        operation = self.latest()[1]
        if operation is None:
            raise DuplicateRequest(
                f"request_id {self.request_id!r} is used up: project {self.client.settings.project} lists no operation with the "
                f"mark {self.identity.mark}. It belongs to another request, was refused when the queue was full, or its operation "
                "is listed no longer. Give another request_id."
            )
        return operation


def _succeeded(operation: Operation) -> bool:
    return operation.state == "SUCCEEDED"
