"""What every export does, whatever it exports: start once, wait, be cancelled when its user says so, and tell the result."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from airflow_ee.core import wire
from airflow_ee.core.errors import Aborted, ConnectionFailed, DuplicateRequest, EarthEngineError, NotFound
from airflow_ee.core.operations import (
    attempt_number,
    cancel_and_wait,
    find_marked,
    operation_error,
    operation_summary,
    wait_for_operation,
)
from airflow_ee.core.resources import ExportImageRequest, Operation, check_request_id
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.base import EarthEngineBaseOperator
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.triggers.operation import DEFERRAL_SLACK, EarthEngineOperationTrigger, deferral_timed_out

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient

__all__ = ["EarthEngineExportBaseOperator", "read_boolean"]

STATE_KEY = "earth_engine_export"
# Airflow kills a task that has not gone within five seconds of being asked to.
KILL_SECONDS = 4.0
# One request to cancel that hangs leaves time for another.
KILL_REQUEST_SECONDS = 2.0
# So many ids in a row may turn out to be used up before a try gives in; the next one goes on behind them.
MOST_NUMBERS = 10


class EarthEngineExportBaseOperator(EarthEngineBaseOperator):
    """
    Base of the exports.

    An export starts once, however often its worker dies or its answer is lost: the service takes one operation for a
    requestId, which is made of the task instance and the content. A task that is cleared after success returns the
    operation it has, unless what it exports has changed. A failed export may be tried again, as another one.

    A requestId can be used up without an operation, by a request that a full queue refused. Where the service says that
    it has one and lists none even after a minute, the export is asked for under the next id.

    :param description: Words that begin the operation's description; a mark of the task follows. Else DAG and task.
    :param priority: 0 to 9999, more is sooner; None: the service's own, 100.
    :param wait_for_completion: Whether the task waits for the operation; a sensor can do so instead.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held.
    :param poll_interval: Seconds between two looks at the operation.
    :param operation_timeout_seconds: Longest time from the operation's creation to its end; then the task fails.
    :param cancel_on_kill: Whether the operation is cancelled when a user kills the task.
    :param cancel_on_timeout: Whether the operation is cancelled when the task or its operation runs out of time.
    :param force_rerun: Start anew even where the same export has succeeded before; one that still runs is waited for.
        Once for a run and each clearing, however many tries these take. Before Airflow 3.3 nothing tells a retry from a
        clearing: there, a try that follows a crash starts anew as well when the export has succeeded in between.
    :param request_id: A requestId of one's own, 1 to 60 letters, digits and ``-``, instead of the computed one. It
        starts one operation for ever: after a failure, or with ``force_rerun``, give another one.
    """

    template_fields: Sequence[str] = (
        *EarthEngineBaseOperator.template_fields,
        "description",
        "priority",
        "force_rerun",
        "request_id",
    )
    operator_extra_links = (EarthEngineOperationLink(),)
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        description: str | None = None,
        priority: int | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = conf.getfloat("earth_engine", "poll_interval", fallback=30.0),
        operation_timeout_seconds: float | None = None,
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        force_rerun: bool | str = False,
        request_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, seconds in (
            ("poll_interval", poll_interval),
            ("operation_timeout_seconds", operation_timeout_seconds),
        ):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be above 0 seconds, got {seconds}")
        self.description = description
        self.priority = priority
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.operation_timeout_seconds = operation_timeout_seconds
        self.cancel_on_kill = cancel_on_kill
        self.cancel_on_timeout = cancel_on_timeout
        self.force_rerun = force_rerun
        self.request_id = request_id
        self._running: str | None = None
        self._killed = False

    @abstractmethod
    def build_request(self, context: Context) -> ExportImageRequest:
        """
        Return what to export, checked, with any description.

        :param context: Airflow's context.
        """

    @abstractmethod
    def requested_uri(self) -> str:
        """Return where the export was told to write."""

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Start the export, or find the one that an earlier try started, and wait for it.

        :param context: Airflow's context.
        """
        with fail_fast():
            operation = self._start_or_find(context)
            self._running = operation.name
            self._heed_kill(operation)
            self._show(context, operation)
            if operation.done or not self.wait_for_completion:
                return self._result(operation)
            if self.deferrable:
                self._defer(operation)
            return self._result(self._wait(operation))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Go on when the trigger has fired.

        :param context: Airflow's context.
        :param event: The trigger's event.
        """
        self._running = name = event["operations"][0]
        with fail_fast():
            operation = self.client.get_operation(name)
            self._show(context, operation)
            self._tell(operation)
            if operation.done:
                return self._result(operation)
            if event["status"] == "timeout":
                raise self._time_out(name)
            raise ConnectionFailed(f"{name} could not be watched any longer: {event['message']}")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave it up for lack of time, cancel the operation first.

        :param next_method: Name of the method that goes on.
        :param next_kwargs: Its arguments.
        :param context: Airflow's context.
        """
        if deferral_timed_out(next_method, next_kwargs) and self.cancel_on_timeout:
            for operation in self._running_operations(context):
                self.log.info("The deferral timed out: cancelling %s", operation.name)
                self.client.cancel_operation(operation.name)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the operation when a user kills the task; one that is just being started is cancelled once it is known."""
        # Before all else: the request may be on its way, and who waits for its answer looks at this.
        self._killed = True
        name, self._running = self._running, None
        if name is None or not self.cancel_on_kill:
            return
        self.log.info("The task was killed: cancelling %s", name)
        # A client of its own: this runs in a signal handler, and the task's may be in the middle of a request.
        client = self.hook.get_client(
            project_id=self.project_id,
            request_timeout_seconds=KILL_REQUEST_SECONDS,
            request_retries=1,
            max_concurrency=1,
        )
        # Only waiting for a thread is bounded in all: name lookups, tokens, connects and reads each have their own limit.
        cancelling = threading.Thread(target=self._see_cancelled, args=(client, name), daemon=True)
        cancelling.start()
        cancelling.join(KILL_SECONDS)
        if cancelling.is_alive():
            self.log.warning("No time is left to see %s cancelled", name)

    def _see_cancelled(self, client: EarthEngineClient, name: str) -> None:
        try:
            operation = cancel_and_wait(client, name, timeout_seconds=KILL_SECONDS)
        except EarthEngineError:
            # Nobody is left to raise it to: the task is over.
            self.log.exception("%s could not be cancelled", name)
        else:
            self.log.info("%s is %s", operation.name, operation.state)

    def _heed_kill(self, operation: Operation) -> None:
        """End a task whose kill came while its export was being started, and cancel that."""
        if self._killed and self.cancel_on_kill and not operation.done:
            self.on_kill()
            # Not for fail_fast: a worker that was shut down may have another try.
            raise RuntimeError(f"The task was killed while it started {operation.name}, which is being cancelled")

    def _start_or_find(self, context: Context) -> Operation:
        request = self.build_request(context)
        if self.request_id:
            check_request_id(self.request_id)
        client, identity = self.client, self._identify(context, request)
        anew = read_boolean("force_rerun", self.force_rerun) and not self._known_in_this_series(context, identity)
        number, operation = self._earlier(context, identity, anew=anew)
        changed = number < 0
        if changed:
            number, operation = _latest(client, identity)
        if operation is not None and (not operation.done or (_succeeded(operation) and not anew and not changed)):
            self.log.info("This export was started before: %s is %s", operation.name, operation.state)
        else:
            number, operation = self._start(context, client, request, identity, number + 1)
        self._remember(context, identity, number, operation.name)
        return operation

    def _start(
        self,
        context: Context,
        client: EarthEngineClient,
        request: ExportImageRequest,
        identity: ExportIdentity,
        number: int,
    ) -> tuple[int, Operation]:
        """Ask for the export under ``number``, and on under the next one while that gives nothing of use."""
        first = number
        while number < first + MOST_NUMBERS:
            if self._killed:
                raise RuntimeError("The task was killed before its export was started")
            operation = self._submit(context, client, request, identity, number)
            if operation is None:
                self.log.warning("Number %d of this export is used up, and no operation is listed for it", number)
                number += 1
                continue
            number = attempt_number(operation.description, identity.mark) or number
            if _succeeded(operation) or not operation.done or self.request_id:
                return number, operation
            number += 1
        # Not permanent: a list catches up, a queue empties, and what the state store remembers is not tried again.
        raise Aborted(
            f"The service says that it has this export under each number from {first} to {number - 1}, and project "
            f"{client.settings.project} lists no operation with the mark {identity.mark} that goes on or has succeeded. "
            "Try again later, or give a request_id of your own."
        )

    def _submit(
        self,
        context: Context,
        client: EarthEngineClient,
        request: ExportImageRequest,
        identity: ExportIdentity,
        number: int,
    ) -> Operation | None:
        """Ask for the export under one number; None when its id is used up and no operation of it can be found."""
        # Before the request: a try that dies during it is followed by one that asks with the same id.
        self._remember(context, identity, number, "")
        request = replace(
            request, description=identity.describe(self.description or f"{self.dag_id}-{self.task_id}", number)
        )
        request_id = self.request_id or identity.request_id(number)
        self.log.info("Requesting export %s to %s as %s", request_id, self.requested_uri(), self.hook.principal)
        operation = self.hook.submit_export(client, request, request_id=request_id, mark=identity.mark)
        if operation is not None or not self.request_id:
            return operation
        # An id of one's own has no number in it: what it started may be listed under an earlier one.
        operation = _latest(client, identity)[1]
        if operation is None:
            raise DuplicateRequest(
                f"request_id {self.request_id!r} is used up: project {client.settings.project} lists no operation with the "
                f"mark {identity.mark}. It belongs to another export, was refused when the queue was full, or its operation "
                "is listed no longer. Give another request_id."
            )
        return operation

    def _identify(self, context: Context, request: ExportImageRequest) -> ExportIdentity:
        """The identity of this export; how soon it runs and under which tag do not count."""
        ti: Any = context["ti"]
        plain = replace(request, description="x", priority=None, workload_tag=None)
        content = {**wire.export_image_body(plain, None), "project": self.client.settings.project}
        instance = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
        return ExportIdentity.of(self.hook.options.request_namespace, instance, content)

    def _known(self, context: Context) -> dict[str, Any] | None:
        """What an earlier try has left in Airflow's state store; None without a store, or before the first try."""
        store: Any = context.get("task_state_store")
        return None if store is None else store.get(STATE_KEY) or None

    def _known_in_this_series(self, context: Context, identity: ExportIdentity) -> bool:
        """Whether an earlier try since the last clearing has seen to this export already."""
        known = self._known(context)
        return known is not None and known["mark"] == identity.mark and known.get("series") == _series(context)

    def _earlier(self, context: Context, identity: ExportIdentity, *, anew: bool) -> tuple[int, Operation | None]:
        """Number and operation of the latest attempt at this export; 0 when there is none, -1 when it was another export."""
        known = self._known(context)
        if known is None:
            # A store that Airflow cleared after success knows nothing: to start anew, the number has to be a new one.
            look = anew or context.get("task_state_store") is None
            return _latest(self.client, identity) if look else (0, None)
        if known["mark"] != identity.mark:
            return -1, None
        if not known["operation"]:
            return known["number"] - 1, None
        try:
            return known["number"], self.client.get_operation(known["operation"])
        except NotFound:
            self.log.warning("%s of an earlier try is no longer known", known["operation"])
        number, operation = _latest(self.client, identity)
        # Ids below the remembered number are used up; its own may be: the service tells when it is asked.
        return (number, operation) if number >= known["number"] else (known["number"] - 1, None)

    def _remember(self, context: Context, identity: ExportIdentity, number: int, operation: str) -> None:
        store: Any = context.get("task_state_store")
        if store is not None:
            value = {"mark": identity.mark, "number": number, "operation": operation, "series": _series(context)}
            store.set(STATE_KEY, value)

    def _running_operations(self, context: Context) -> list[Operation]:
        """Operations of this task instance that go on; found without building the request again."""
        known = self._known(context)
        if known is not None and known["operation"]:
            listed = [self.client.get_operation(known["operation"])]
        else:
            ti: Any = context["ti"]
            instance = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
            mark = ExportIdentity.of(self.hook.options.request_namespace, instance, {}).task_mark
            listed = [item for item in self.client.list_operations() if f"-{mark}-" in item.description]
        return [operation for operation in listed if not operation.done]

    def _show(self, context: Context, operation: Operation) -> None:
        """Make the link known; anew in each try, because Airflow forgets it in between."""
        client = self.client
        endpoint = client.settings.endpoint if client.emulated else None
        if client.simulated:
            self.log.warning("The server is an emulator: %s exports simulated imagery", operation.name)
        EarthEngineOperationLink().persist(context, operation_url(operation.name, emulator_endpoint=endpoint))

    def _defer(self, operation: Operation) -> None:
        seconds = [self._remaining_seconds(operation)]
        if self.execution_timeout is not None:
            seconds.append(self.execution_timeout.total_seconds())
        limits = [limit for limit in seconds if limit is not None]
        limit = min(limits) if limits else None
        trigger = EarthEngineOperationTrigger(
            operation_names=[operation.name],
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poll_interval,
            deadline=None if limit is None else time.time() + limit,
            cancel_on_kill=self.cancel_on_kill,
        )
        timeout = None if limit is None else timedelta(seconds=max(0.0, limit)) + DEFERRAL_SLACK
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def _wait(self, operation: Operation) -> Operation:
        try:
            return wait_for_operation(
                self.client,
                operation.name,
                poll_interval_seconds=self.poll_interval,
                timeout_seconds=self._remaining_seconds(operation),
                on_change=self._tell,
            )
        except TimeoutError:
            raise self._time_out(operation.name) from None
        except AirflowTaskTimeout:
            # Airflow calls on_kill after this; which of the two switches counts is decided here.
            self._cancel_late(operation.name)
            raise

    def _time_out(self, name: str) -> TimeoutError:
        """What to raise when time is up, after the operation was cancelled if so wished."""
        self._cancel_late(name)
        ending = "it was cancelled" if self.cancel_on_timeout else "it goes on"
        return TimeoutError(f"{name} did not end in time; {ending}")

    def _cancel_late(self, name: str) -> None:
        self._running = None
        if self.cancel_on_timeout:
            self.log.info("Time is up: cancelling %s", name)
            self.client.cancel_operation(name)

    def _remaining_seconds(self, operation: Operation) -> float | None:
        if self.operation_timeout_seconds is None:
            return None
        age = 0.0
        if operation.create_time:
            age = max(0.0, time.time() - datetime.fromisoformat(operation.create_time).timestamp())
        return max(0.0, self.operation_timeout_seconds - age)

    def _tell(self, operation: Operation) -> None:
        stages = ", ".join(
            f"{stage.name} {stage.complete_work_units:g}/{stage.total_work_units:g}" for stage in operation.stages
        )
        self.log.info(
            "%s is %s: %.0f %%, attempt %d, %s EECU s%s",
            operation.name,
            operation.state,
            100 * operation.progress,
            operation.attempt,
            "?" if operation.eecu_seconds is None else f"{operation.eecu_seconds:g}",
            f" ({stages})" if stages else "",
        )

    def _result(self, operation: Operation) -> dict[str, Any]:
        """What the task returns; the operation's own failure when it has failed."""
        if operation.done:
            self._running = None
        error = operation_error(operation)
        if error is not None:
            if self._killed:
                # Not for fail_fast: a worker that was shut down may have another try.
                raise RuntimeError(f"The task was killed, and with it {error.message}")
            raise error
        return operation_summary(operation, requested_uri=self.requested_uri())


def _latest(client: EarthEngineClient, identity: ExportIdentity) -> tuple[int, Operation | None]:
    """Number and operation of the latest attempt that the service lists."""
    found = find_marked(client.list_operations(), identity.mark)
    if not found:
        return 0, None
    return attempt_number(found[-1].description, identity.mark) or 0, found[-1]


def _series(context: Context) -> int:
    """What a clearing changes and a retry does not: a clearing adds to the tries that Airflow allows."""
    ti: Any = context["ti"]
    return int(ti.max_tries)


def _succeeded(operation: Operation) -> bool:
    return operation.state == "SUCCEEDED"


def read_boolean(name: str, value: bool | str) -> bool:
    """Read a flag, which a template may have turned into text.

    >>> read_boolean("overwrite", "True")
    True
    """
    text = str(value).strip().lower()
    if text not in {"true", "false", "1", "0", "none", ""}:
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return text in {"true", "1"}
