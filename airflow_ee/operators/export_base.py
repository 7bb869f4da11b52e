"""What every export does, whatever it exports: start once, wait, be cancelled when its user says so, and tell the result."""

from __future__ import annotations

import hashlib
import json
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from airflow_ee.core import wire
from airflow_ee.core.errors import ConnectionFailed, DuplicateRequest, NotFound
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
from airflow_ee.triggers.operation import EarthEngineOperationTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient

__all__ = ["EarthEngineExportBaseOperator", "ExportIdentity", "read_boolean"]

STATE_KEY = "earth_engine_export"
LONGEST_DESCRIPTION = 100
# Airflow kills a task that has not gone within five seconds of being asked to.
KILL_SECONDS = 4.0
# Airflow's own limit on a deferral comes after the trigger's, which can tell what it saw.
DEFERRAL_SLACK = timedelta(minutes=2)
# What Airflow resumes a task with whose trigger ended without an event, and its word for a timeout.
FAILED_DEFERRAL = "__fail__"
TRIGGER_TIMEOUT = "Trigger timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportIdentity:
    """What makes two exports the same: the task instance and the content, but not Airflow's count of tries.

    >>> identity = ExportIdentity.of("", ("dag", "task", "run", -1), {"expression": 1})
    >>> identity.describe("NDVI of June", 1)
    'NDVI-of-June-ae-4518160d18b6-73267773e952-1'
    >>> identity.request_id(1) == identity.request_id(2)
    False
    """

    task: str
    """Digest of the namespace and the task instance."""
    content: str
    """Digest of what is exported and where to."""

    @classmethod
    def of(cls, namespace: str, instance: Sequence[object], content: Mapping[str, Any]) -> ExportIdentity:
        """The identity of a task instance's export."""
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return cls(task=_digest("\x1f".join(map(str, (namespace, *instance)))), content=_digest(text))

    @property
    def mark(self) -> str:
        """What a description ends in, before the attempt's number: a list of operations shows no requestId."""
        return f"{self.task_mark}-{self.content[:12]}"

    @property
    def task_mark(self) -> str:
        """The part of the mark that all exports of the task instance share."""
        return f"ae-{self.task[:12]}"

    def request_id(self, number: int) -> str:
        """The id under which the service starts one operation only."""
        return "airflow-" + _digest(f"{self.task}\x1f{self.content}\x1f{number}")[:48]

    def describe(self, words: str, number: int) -> str:
        """A description that tells the export, and its ``number``-th attempt, in a list."""
        ending = f"-{self.mark}-{number}"
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", words).strip("-") or "export"
        return plain[: LONGEST_DESCRIPTION - len(ending)] + ending


class EarthEngineExportBaseOperator(EarthEngineBaseOperator):
    """
    Base of the exports.

    An export starts once, however often its worker dies or its answer is lost: the service takes one operation for a
    requestId, which is made of the task instance and the content. A task that is cleared after success returns the
    operation it has, unless what it exports has changed. A failed export may be tried again, as another one.

    :param description: Words that begin the operation's description; a mark of the task follows. Else DAG and task.
    :param priority: 0 to 9999, more is sooner; None: the service's own, 100.
    :param wait_for_completion: Whether the task waits for the operation; a sensor can do so instead.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held.
    :param poll_interval: Seconds between two looks at the operation.
    :param operation_timeout_seconds: Longest time from the operation's creation to its end; then the task fails.
    :param cancel_on_kill: Whether the operation is cancelled when a user kills the task.
    :param cancel_on_timeout: Whether the operation is cancelled when the task or its operation runs out of time.
    :param force_rerun: Start anew even where the same export has succeeded before; one that still runs is waited for.
    :param request_id: A requestId of one's own, 1 to 60 letters, digits and ``-``, instead of the computed one.
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
        name = event["operations"][0]
        with fail_fast():
            operation = self.client.get_operation(name)
            self._show(context, operation)
            self._tell(operation)
            if operation.done:
                return self._result(operation)
            self._running = name
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
        timed_out = next_method == FAILED_DEFERRAL and (next_kwargs or {}).get("error") == TRIGGER_TIMEOUT
        if timed_out and self.cancel_on_timeout:
            for operation in self._running_operations(context):
                self.log.info("The deferral timed out: cancelling %s", operation.name)
                self.client.cancel_operation(operation.name)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the operation when a user kills the task."""
        if self._running is None or not self.cancel_on_kill:
            return
        self._killed = True
        self.log.info("The task was killed: cancelling %s", self._running)
        # A client of its own: this runs in a signal handler, and the task's may be in the middle of a request.
        client = self.hook.get_client(
            project_id=self.project_id, request_timeout_seconds=KILL_SECONDS, request_retries=1, max_concurrency=1
        )
        operation = cancel_and_wait(client, self._running, timeout_seconds=KILL_SECONDS)
        self.log.info("%s is %s", operation.name, operation.state)

    def _start_or_find(self, context: Context) -> Operation:
        request = self.build_request(context)
        if self.request_id:
            check_request_id(self.request_id)
        client, identity = self.client, self._identify(context, request)
        anew = read_boolean("force_rerun", self.force_rerun)
        number, operation = self._earlier(context, identity)
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
        """Ask for the export; when the service has it already, find it, and ask anew if that one has failed."""
        words = self.description or f"{self.dag_id}-{self.task_id}"
        request = replace(request, description=identity.describe(words, number))
        request_id = self.request_id or identity.request_id(number)
        # Before the request: a try that dies during it is followed by one that asks with the same id.
        self._remember(context, identity, number, "")
        self.log.info("Requesting export %s to %s as %s", request_id, self.requested_uri(), self.hook.principal)
        try:
            return number, client.export_image(request, request_id=request_id)
        except DuplicateRequest as duplicate:
            operation = self.hook.find_started(client, request, identity.mark, duplicate)
        self.log.info("Export %s was started before: %s is %s", request_id, operation.name, operation.state)
        if _succeeded(operation) or not operation.done or self.request_id:
            return attempt_number(operation.description, identity.mark) or number, operation
        return self._start(context, client, request, identity, _latest(client, identity)[0] + 1)

    def _identify(self, context: Context, request: ExportImageRequest) -> ExportIdentity:
        """The identity of this export; how soon it runs and under which tag do not count."""
        ti: Any = context["ti"]
        plain = replace(request, description="x", priority=None, workload_tag=None)
        content = {**wire.export_image_body(plain, None), "project": self.client.settings.project}
        instance = (ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
        return ExportIdentity.of(self.hook.options.request_namespace, instance, content)

    def _earlier(self, context: Context, identity: ExportIdentity) -> tuple[int, Operation | None]:
        """Number and operation of the latest attempt at this export; 0 when there is none, -1 when it was another export."""
        store: Any = context.get("task_state_store")
        if store is None:
            return _latest(self.client, identity)
        known = store.get(STATE_KEY)
        if not known:
            return 0, None
        if known["mark"] != identity.mark:
            return -1, None
        if not known["operation"]:
            return known["number"] - 1, None
        try:
            return known["number"], self.client.get_operation(known["operation"])
        except NotFound:
            self.log.warning("%s of an earlier try is no longer known", known["operation"])
            return _latest(self.client, identity)

    def _remember(self, context: Context, identity: ExportIdentity, number: int, operation: str) -> None:
        store: Any = context.get("task_state_store")
        if store is not None:
            store.set(STATE_KEY, {"mark": identity.mark, "number": number, "operation": operation})

    def _running_operations(self, context: Context) -> list[Operation]:
        """Operations of this task instance that go on; found without building the request again."""
        store: Any = context.get("task_state_store")
        known = store.get(STATE_KEY) if store is not None else None
        if known and known["operation"]:
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
