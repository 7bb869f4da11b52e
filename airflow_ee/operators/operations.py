"""Operators that cancel operations, and that list them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.arguments import integer, names, number, read_boolean, text_or_none
from airflow_ee.operators.dates import read_moment
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Operation

__all__ = ["EarthEngineCancelOperationOperator", "EarthEngineListOperationsOperator"]

STATES = ("PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "CANCELLED", "FAILED")


class EarthEngineCancelOperationOperator(EarthEnginePixelBaseOperator):
    """
    Cancel operations, and wait until they are over.

    An operation that has ended is left as it is; one that succeeds while it is being cancelled is fine, too. Returns
    ``[{"operation", "state", "description", "cancelled"}]`` in the order of the names: ``state`` is the last one seen, or
    ``MISSING``, and ``cancelled`` tells whether this task asked for an end.

    :param operation_name: Full name, bare id, what an export operator returned, or a list of these.
    :param missing_ok: Whether it is fine that the service does not know one.
    :param wait_for_completion: Whether to wait until all are over; else they may be ``CANCELLING`` still.
    :param cancel_timeout_seconds: Longest wait for that, for all of them together; then the task fails.
    :param poll_interval: Seconds between two looks.
    """

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "operation_name",
        "missing_ok",
        "wait_for_completion",
        "cancel_timeout_seconds",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"operation_name": "json"}
    operator_extra_links = (EarthEngineOperationLink(),)

    def __init__(
        self,
        *,
        operation_name: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
        missing_ok: bool | str = True,
        wait_for_completion: bool | str = True,
        cancel_timeout_seconds: float | str = 300.0,
        poll_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise ValueError(f"poll_interval must be above 0, got {poll_interval}")
        self.operation_name = operation_name
        self.missing_ok = missing_ok
        self.wait_for_completion = wait_for_completion
        self.cancel_timeout_seconds = cancel_timeout_seconds
        self.poll_interval = poll_interval

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """
        Cancel them; tell how each ended.

        :param context: Airflow's context.
        """
        from airflow_ee.core.operation_names import operation_names

        with fail_fast():
            missing_ok = read_boolean("missing_ok", self.missing_ok)
            waiting = read_boolean("wait_for_completion", self.wait_for_completion)
            patience = _seconds("cancel_timeout_seconds", self.cancel_timeout_seconds)
            with self.pixel_client() as client:
                wanted = operation_names(client.settings.project, self.operation_name)
                seen = {name: self._cancel(client, name, missing_ok) for name in wanted}
                if wanted:
                    endpoint = client.settings.endpoint if client.emulated else None
                    EarthEngineOperationLink().persist(context, operation_url(wanted[0], emulator_endpoint=endpoint))
                found = {name: operation for name, (operation, _) in seen.items()}
                if waiting:
                    found |= self._wait(
                        client, [each.name for each in found.values() if each and not each.done], patience
                    )
        return [_told(name, operation, cancelled=seen[name][1]) for name, operation in found.items()]

    def _cancel(self, client: EarthEngineClient, name: str, missing_ok: bool) -> tuple[Operation | None, bool]:
        """Ask for an end; the operation, None if there is none, and whether its end was asked for."""
        from airflow_ee.core.errors import FailedPrecondition, InvalidArgument, NotFound

        try:
            operation = client.get_operation(name)
            if operation.done:
                self.log.info("%s has ended already: %s", name, operation.state)
                return operation, False
            client.cancel_operation(name)
        except NotFound:
            if not missing_ok:
                raise
            self.log.info("%s is not known to the service", name)
            return None, False
        except (FailedPrecondition, InvalidArgument):
            # What has ended cannot be cancelled: an answer was lost, or it came to its end between the two requests.
            operation = client.get_operation(name)
            if not operation.done:
                raise
        self.log.info("Cancelling %s, which is %s", name, operation.state)
        return operation, True

    def _wait(self, client: EarthEngineClient, asked: Sequence[str], patience: float) -> dict[str, Operation]:
        ended: dict[str, Operation] = {}
        deadline = time.monotonic() + patience
        while True:
            for name in asked:
                if name not in ended and (operation := client.get_operation(name)).done:
                    self.log.info("%s is %s", name, operation.state)
                    ended[name] = operation
            late = [name for name in asked if name not in ended]
            if not late:
                return ended
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{', '.join(late)} did not end within {patience:g} s of being cancelled")
            time.sleep(self.poll_interval)


class EarthEngineListOperationsOperator(EarthEnginePixelBaseOperator):
    """
    List operations of the project, the latest first.

    Returns ``[{"operation", "state", "type", "description", "created", "start", "end", "progress", "eecu_seconds",
    "error"}]``; :class:`EarthEngineCancelOperationOperator` and the sensor take it as it is.

    :param states: Only these, of ``PENDING``, ``RUNNING``, ``CANCELLING``, ``SUCCEEDED``, ``CANCELLED``, ``FAILED``.
    :param description_pattern: Only those in whose description this regular expression is found.
    :param started_since: Only those that were asked for at this ISO date or moment, or later; or within this ``timedelta``.
    :param limit: Most operations that are returned.
    """

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "states",
        "description_pattern",
        "started_since",
        "limit",
    )

    def __init__(
        self,
        *,
        states: Sequence[str] | str | None = None,
        description_pattern: str | None = None,
        started_since: str | date | datetime | timedelta | None = None,
        limit: int | str = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.states = states
        self.description_pattern = description_pattern
        self.started_since = started_since
        self.limit = limit

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002
        """
        List them.

        :param context: Airflow's context.
        """
        with fail_fast():
            limit = integer("limit", self.limit)
            if limit is None or limit < 1:
                raise ValueError(f"limit must be at least 1, got {self.limit!r}")
            states, pattern, since = self._states(), self._pattern(), self._since()
            with self.pixel_client() as client:
                found = [
                    (created, operation)
                    for created, operation in _dated(client.list_operations())
                    if (states is None or operation.state in states)
                    and (pattern is None or pattern.search(operation.description))
                    and (since is None or created >= since)
                ]
        found.sort(key=lambda pair: pair[0], reverse=True)
        if len(found) > limit:
            self.log.warning("%d operations are as wanted; these are the latest %d", len(found), limit)
        return [_summary(operation) for _, operation in found[:limit]]

    def _states(self) -> list[str] | None:
        states = names("states", self.states)
        unknown = sorted(set(states or ()) - set(STATES))
        if unknown:
            raise ValueError(f"states must be of {', '.join(STATES)}, got {', '.join(unknown)}")
        return states

    def _pattern(self) -> re.Pattern[str] | None:
        text = text_or_none(self.description_pattern)
        try:
            return None if text is None else re.compile(text)
        except re.error as problem:
            raise ValueError(f"description_pattern is no regular expression: {problem}, in {text!r}") from None

    def _since(self) -> datetime | None:
        if isinstance(self.started_since, timedelta):
            return datetime.now(UTC) - self.started_since
        return read_moment("started_since", self.started_since)


def _seconds(name: str, value: Any) -> float:
    seconds = number(name, value)
    if seconds is None or not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value!r}")
    return seconds


def _told(name: str, operation: Operation | None, *, cancelled: bool) -> dict[str, Any]:
    state, description = ("MISSING", "") if operation is None else (operation.state, operation.description)
    return {"operation": name, "state": state, "description": description, "cancelled": cancelled}


def _dated(operations: Iterator[Operation]) -> Iterator[tuple[datetime, Operation]]:
    """Operations with the moment at which they were asked for; of one that tells none, the beginning of time."""
    for operation in operations:
        created = read_moment("created", operation.create_time)
        yield created or datetime.min.replace(tzinfo=UTC), operation


def _summary(operation: Operation) -> dict[str, Any]:
    return {
        "operation": operation.name,
        "state": operation.state,
        "type": operation.type,
        "description": operation.description,
        "created": operation.create_time,
        "start": operation.start_time,
        "end": operation.end_time,
        "progress": operation.progress,
        "eecu_seconds": operation.eecu_seconds,
        "error": str((operation.error or {}).get("message", ""))[:200] or None,
    }
