"""Waits for operations that another task, or a person, has started."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_ee.core.errors import Cancelled, ConnectionFailed
from airflow_ee.core.operation_names import matching_operations, operation_names
from airflow_ee.core.operations import operation_error, operation_summary
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.arguments import refuse_unless
from airflow_ee.operators.connected import EarthEngineConnected
from airflow_ee.triggers.description import EarthEngineDescriptionTrigger
from airflow_ee.triggers.operation import (
    DEFERRAL_SLACK,
    EarthEngineOperationTrigger,
    deferral_timed_out,
    settled,
)
from airflow_ee.triggers.poller import FEW_OPERATIONS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.resources import Operation
    from airflow_ee.triggers.watching import WatchingTrigger

__all__ = ["EarthEngineOperationSensor"]

WAIT_FOR = ("all", "any")
ON_CANCELLED = ("fail", "skip")
MOST_ERRORS = 20


class EarthEngineOperationSensor(EarthEngineConnected, BaseSensorOperator):
    """
    Wait for operations to end.

    Returns a list of what export operators return, in the order of the names. An empty list is done at once; an operation
    that the service does not know fails at once, and so does one that failed, with the service's words.

    There is no ``workload_tag`` here: a tag travels with what computes, and a look at an operation computes nothing.

    :param operation_name: Full name, bare id, what an export operator returned, or a list of these.
    :param description: Instead: a pattern as in names of files, such as ``ndvi-2024-*``, of operations' descriptions. Which
        operations have it is looked at each time.
    :param min_operations: So many have to have the pattern before the sensor can end.
    :param since: Of those with the pattern only the ones that were created then or later: ISO 8601, UTC where no zone is given.
    :param wait_for: ``all``: until each has succeeded, or one has failed; ``any``: until one has succeeded, or none can.
    :param on_cancelled: ``fail`` or ``skip`` the task when an operation that it needs was cancelled.
    :param cancel_on_timeout: Whether operations that go on are cancelled when the sensor's ``timeout`` has passed.
    :param deferrable: Whether the triggerer waits, so that no worker slot is held.
    :param project_id: Cloud project that is billed; else the connection's, else the credentials'.
    :param gcp_conn_id: The Airflow connection, of type ``earth_engine`` or ``google_cloud_platform``.
    :param impersonation_chain: Service account to impersonate, or a chain of them.
    :param request_timeout_seconds: Longest wait for one answer; else the connection's.
    :param request_retries: How often a request that failed for a passing reason is made again.
    """

    template_fields: Sequence[str] = (
        "operation_name",
        "description",
        "since",
        "wait_for",
        "on_cancelled",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"operation_name": "json"}
    operator_extra_links = (EarthEngineOperationLink(),)
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        operation_name: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
        description: str | None = None,
        min_operations: int = 1,
        since: str | None = None,
        wait_for: str = "all",
        on_cancelled: str = "fail",
        cancel_on_timeout: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        project_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        impersonation_chain: str | Sequence[str] | None = None,
        request_timeout_seconds: float | None = None,
        request_retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min_operations < 1:
            raise ValueError(f"min_operations must be at least 1, got {min_operations}")
        self.operation_name = operation_name
        self.description = description
        self.min_operations = min_operations
        self.since = since
        self.wait_for = wait_for
        self.on_cancelled = on_cancelled
        self.cancel_on_timeout = cancel_on_timeout
        self.deferrable = deferrable
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.request_timeout_seconds = request_timeout_seconds
        self.request_retries = request_retries
        self._seen: dict[str, Operation] = {}

    def execute(self, context: Context) -> Any:
        """
        Wait in the worker, between visits to it, or in the triggerer.

        :param context: Airflow's context.
        """
        try:
            if not self.deferrable:
                return super().execute(context)
            first_look = self.poke(context)
        except AirflowSensorTimeout:
            self._cancel_late()
            raise
        except AirflowFailException as failure:
            if self.deferrable and (self.soft_fail or self.never_fail):
                raise AirflowSkipException(str(failure)) from failure
            raise
        except AirflowSkipException:
            # With soft_fail, this is how Airflow's sensors tell of a timeout.
            if self._open_names():
                self._cancel_late()
            raise
        if first_look:
            return first_look.xcom_value
        self._defer()
        return None

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look at the operations once.

        :param context: Airflow's context.
        """
        with fail_fast():
            operations = self._look(context)
            enough = self.description is None or len(operations) >= self.min_operations
            if not enough or not settled([operation.state for operation in operations], self.wait_for):
                return PokeReturnValue(is_done=False)
            self._judge(operations)
        return PokeReturnValue(is_done=True, xcom_value=[operation_summary(operation) for operation in operations])

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Go on when the trigger has fired.

        :param context: Airflow's context.
        :param event: The trigger's event.
        """
        result = self.poke(context)
        if result:
            return cast("list[dict[str, Any]]", result.xcom_value)
        if event["status"] == "timeout":
            self._cancel_late()
            raise AirflowSensorTimeout(f"{self._told()} did not end within {self.timeout:g} s")
        raise ConnectionFailed(f"{self._told()} could not be watched any longer: {event['message']}")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave it up for lack of time, cancel what is to be cancelled first.

        :param next_method: Name of the method that goes on.
        :param next_kwargs: Its arguments.
        :param context: Airflow's context.
        """
        if deferral_timed_out(next_method, next_kwargs):
            self._look(context)
            self._cancel_late()
        return super().resume_execution(next_method, next_kwargs, context)

    def _look(self, context: Context) -> list[Operation]:
        """The operations that are meant, as they are now."""
        for name, allowed in (("wait_for", WAIT_FOR), ("on_cancelled", ON_CANCELLED)):
            refuse_unless(name, getattr(self, name), allowed)
        if (self.operation_name is None) == (self.description is None):
            raise ValueError("give exactly one of operation_name and description")
        before = dict(self._seen)
        if self.description is not None:
            listed = self.client.list_operations()
            self._seen = {item.name: item for item in matching_operations(listed, self.description, since=self.since)}
        else:
            self._look_up(operation_names(self.client.settings.project, self.operation_name))
        for name, operation in self._seen.items():
            if name not in before or operation.signature != before[name].signature:
                self.log.info("%s is %s, %.0f %%", name, operation.state, 100 * operation.progress)
        if self._seen:
            endpoint = self.client.settings.endpoint if self.client.emulated else None
            EarthEngineOperationLink().persist(
                context, operation_url(next(iter(self._seen)), emulator_endpoint=endpoint)
            )
        return list(self._seen.values())

    def _look_up(self, names: Sequence[str]) -> None:
        ended = {name: operation for name, operation in self._seen.items() if operation.done}
        open_names = [name for name in names if name not in ended]
        listed = {}
        if len(open_names) > FEW_OPERATIONS:
            listed = {operation.name: operation for operation in self.client.list_operations()}
        found = {name: listed.get(name) or self.client.get_operation(name) for name in open_names}
        self._seen = {name: ended.get(name) or found[name] for name in names}

    def _judge(self, operations: Sequence[Operation]) -> None:
        """Raise what the ended operations stand for, if that is a failure."""
        succeeded = [operation for operation in operations if operation.state == "SUCCEEDED"]
        if self.wait_for == "any" and (succeeded or not operations):
            return
        errors = [error for operation in operations if (error := operation_error(operation)) is not None]
        words = "; ".join(map(str, errors[:MOST_ERRORS]))
        if errors and self.on_cancelled == "skip" and all(isinstance(error, Cancelled) for error in errors):
            self._seen.clear()
            raise AirflowSkipException(words)
        if errors:
            # An operation that has ended stays as it is: another try of the sensor would find the same.
            raise AirflowFailException(f"{len(errors)} of {len(operations)} operations failed: {words}")

    def _defer(self) -> None:
        self.defer(
            trigger=self._trigger(),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + DEFERRAL_SLACK,
        )

    def _trigger(self) -> WatchingTrigger:
        common: dict[str, Any] = {
            "project_id": self.project_id,
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": self.impersonation_chain,
            "poll_interval": self.poke_interval,
            "wait_for": self.wait_for,
            "deadline": time.time() + self.timeout,
        }
        if self.description is not None:
            return EarthEngineDescriptionTrigger(
                pattern=self.description, min_operations=self.min_operations, since=self.since, **common
            )
        # Who waits for an operation has not started it.
        return EarthEngineOperationTrigger(operation_names=list(self._seen), cancel_on_kill=False, **common)

    def _told(self) -> str:
        """What is waited for, for messages."""
        named = ", ".join(self._open_names()[:MOST_ERRORS])
        if self.description is None:
            return named
        return f"operations with the description {self.description!r} ({named or f'{len(self._seen)} of {self.min_operations} are there'})"

    def _open_names(self) -> list[str]:
        return [name for name, operation in self._seen.items() if not operation.done]

    def _cancel_late(self) -> None:
        for name in self._open_names() if self.cancel_on_timeout else ():
            self.log.info("Time is up: cancelling %s", name)
            self.client.cancel_operation(name)
