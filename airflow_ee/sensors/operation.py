"""Waits for operations that another task, or a person, has started."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_ee.core import wire
from airflow_ee.core.errors import Cancelled, ConnectionFailed
from airflow_ee.core.operations import operation_error, operation_summary
from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.triggers.operation import (
    DEFERRAL_SLACK,
    EarthEngineOperationTrigger,
    deferral_timed_out,
    settled,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Operation
    from airflow_ee.hooks.earth_engine import EarthEngineHook

__all__ = ["EarthEngineOperationSensor"]

WAIT_FOR = ("all", "any")
ON_CANCELLED = ("fail", "skip")
MOST_ERRORS = 20


class EarthEngineOperationSensor(BaseSensorOperator):
    """
    Wait for operations to end.

    Returns a list of what export operators return, in the order of the names. An empty list is done at once; an operation
    that the service does not know fails at once, and so does one that failed, with the service's words.

    There is no ``workload_tag`` here: a tag travels with what computes, and a look at an operation computes nothing.

    :param operation_name: Full name, bare id, what an export operator returned, or a list of these.
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
        operation_name: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
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
        self.operation_name = operation_name
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

    @cached_property
    def hook(self) -> EarthEngineHook:
        """The hook of this task's connection."""
        # Here and not above: Google's hooks add over a second to every parse of a DAG file.
        from airflow_ee.hooks.earth_engine import EarthEngineHook

        return EarthEngineHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)

    @property
    def client(self) -> EarthEngineClient:
        """A client with this task's project, timeout and retries."""
        return self.hook.get_client(
            project_id=self.project_id,
            request_timeout_seconds=self.request_timeout_seconds,
            request_retries=self.request_retries,
        )

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
            names = self._names()
            self._look(names, context)
            operations = [self._seen[name] for name in names]
            if not settled([operation.state for operation in operations], self.wait_for):
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
            raise AirflowSensorTimeout(f"{', '.join(self._open_names())} did not end within {self.timeout:g} s")
        raise ConnectionFailed(f"{', '.join(self._open_names())} could not be watched any longer: {event['message']}")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave it up for lack of time, cancel what is to be cancelled first.

        :param next_method: Name of the method that goes on.
        :param next_kwargs: Its arguments.
        :param context: Airflow's context.
        """
        if deferral_timed_out(next_method, next_kwargs):
            self._look(self._names(), context)
            self._cancel_late()
        return super().resume_execution(next_method, next_kwargs, context)

    def _names(self) -> list[str]:
        """Full names, without repetition, of what the argument means."""
        for name, allowed in (("wait_for", WAIT_FOR), ("on_cancelled", ON_CANCELLED)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        project = self.client.settings.project
        return list(dict.fromkeys(wire.operation_name(project, text) for text in _texts(self.operation_name)))

    def _look(self, names: Sequence[str], context: Context) -> None:
        for name in names:
            before = self._seen.get(name)
            if before is not None and before.done:
                continue
            operation = self.client.get_operation(name)
            self._seen[name] = operation
            if before is None or operation.signature != before.signature:
                self.log.info("%s is %s, %.0f %%", name, operation.state, 100 * operation.progress)
        if names:
            endpoint = self.client.settings.endpoint if self.client.emulated else None
            EarthEngineOperationLink().persist(context, operation_url(names[0], emulator_endpoint=endpoint))

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
        trigger = EarthEngineOperationTrigger(
            operation_names=list(self._seen),
            project_id=self.project_id,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poke_interval,
            wait_for=self.wait_for,
            deadline=time.time() + self.timeout,
            # Who waits for an operation has not started it.
            cancel_on_kill=False,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + DEFERRAL_SLACK,
        )

    def _open_names(self) -> list[str]:
        return [name for name, operation in self._seen.items() if not operation.done]

    def _cancel_late(self) -> None:
        for name in self._open_names() if self.cancel_on_timeout else ():
            self.log.info("Time is up: cancelling %s", name)
            self.client.cancel_operation(name)


def _texts(value: Any) -> Iterable[str]:
    """Names in a name, a result of an export, a list of these, or the text that a template made of one."""
    if isinstance(value, str):
        if value.strip()[:1] in {"[", "{"}:
            return _texts(_parsed(value))
        return [value.strip()]
    if isinstance(value, Mapping):
        if not isinstance(value.get("operation"), str):
            raise ValueError(
                f"operation_name: expected what an export returned, got keys {sorted(map(str, value))[:10]}"
            )
        return [value["operation"]]
    if isinstance(value, Iterable):
        return [text for item in value for text in _texts(item)]
    raise ValueError(
        f"operation_name must be a name, an id, what an export returned, or a list of these, got {type(value).__name__}"
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    try:
        # Templates write a list or dict as Python does.
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f"operation_name is neither JSON nor a name, got {text[:80]!r}") from None
