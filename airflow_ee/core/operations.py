"""Waiting for operations, and finding one that was started before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.destination import object_uri
from airflow_ee.core.errors import Cancelled, EarthEngineError, OperationFailed, error_from_status
from airflow_ee.core.resources import Operation
from airflow_ee.core.watchdog import Watchdog

__all__ = [
    "MOST_URIS",
    "attempt_number",
    "cancel_and_wait",
    "find_marked",
    "operation_error",
    "operation_summary",
    "wait_for_operation",
]

MOST_URIS = 20
"""More than these belong in a file, not in a message between tasks."""


def wait_for_operation(
    client: EarthEngineClient,
    name: str,
    *,
    poll_interval_seconds: float,
    timeout_seconds: float | None = None,
    on_change: Callable[[Operation], None] = lambda _: None,
    watchdog: Watchdog | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Operation:
    """Ask for an operation until it is done; it may have failed then.

    Raises
    ------
    TimeoutError
        After ``timeout_seconds``; the operation goes on.
    OperationStuck, EecuBudgetExceeded
        When the watchdog says so; the operation goes on.
    """
    watchdog = watchdog or Watchdog()
    started, signature = clock(), None
    while True:
        operation = client.get_operation(name)
        if operation.signature != signature:
            signature = operation.signature
            on_change(operation)
        if operation.done:
            return operation
        watchdog.check(operation)
        if timeout_seconds is not None and clock() - started >= timeout_seconds:
            raise TimeoutError(f"{name} is still {operation.state} after {timeout_seconds:g} s")
        sleep(poll_interval_seconds)


def cancel_and_wait(
    client: EarthEngineClient,
    name: str,
    *,
    timeout_seconds: float,
    poll_interval_seconds: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Operation:
    """Cancel an operation and look until it is over, for ``timeout_seconds`` at most; tells its last state."""
    client.cancel_operation(name)
    started = clock()
    while True:
        operation = client.get_operation(name)
        if operation.done or clock() - started >= timeout_seconds:
            return operation
        sleep(poll_interval_seconds)


def find_marked(operations: Iterable[Operation], mark: str, *, since: int = 0) -> list[Operation]:
    """The operations whose description ends in ``mark`` followed by a number: attempts at one export, oldest first.

    Parameters
    ----------
    since
        Lowest number that counts.

    Examples
    --------
    >>> first = Operation(name="projects/p/operations/A", description="ndvi-ae-0123456789ab-ba9876543210-1")
    >>> find_marked([first], "ae-0123456789ab-ba9876543210")[0].id
    'A'
    """
    numbered = ((attempt_number(item.description, mark), item) for item in operations)
    found = [(number, item) for number, item in numbered if number is not None and number >= since]
    return [operation for _, operation in sorted(found, key=lambda pair: pair[0])]


def attempt_number(description: str, mark: str) -> int | None:
    """The number behind ``mark`` at the end of a description; None where the mark is not."""
    _, separator, number = description.rpartition(f"-{mark}-")
    return int(number) if separator and number.isdigit() else None


def operation_error(operation: Operation) -> EarthEngineError | None:
    """The exception that an ended operation stands for; None when it succeeded or goes on."""
    if operation.state == "CANCELLED":
        message = (operation.error or {}).get("message") or "The operation was cancelled."
        return Cancelled(f"{operation.name}: {message}")
    if operation.state != "FAILED":
        return None
    status = operation.error or {}
    narrowed = error_from_status(status)
    message = f"{operation.name} failed: {status.get('message') or 'no reason was given.'}"
    # A class that is known to pass keeps its meaning; all others are the operation's own failure.
    return (
        type(narrowed)(message, narrowed.details) if narrowed.retryable else OperationFailed(message, narrowed.details)
    )


def operation_summary(operation: Operation, *, requested_uri: str | None = None) -> dict[str, Any]:
    """What a task tells of an operation: small, JSON, and the same from exports and sensors.

    Parameters
    ----------
    requested_uri
        Where it was told to write: told when the operation names nothing yet, and in place of the folder around it.

    Examples
    --------
    >>> operation_summary(Operation(name="projects/p/operations/A"), requested_uri="gs://b/x")["uris"]
    ['gs://b/x']
    """
    uris = [object_uri(uri) for uri in operation.destination_uris]
    if requested_uri is not None and all(uri.endswith("/") and requested_uri.startswith(uri) for uri in uris):
        uris = [requested_uri]
    return {
        "operation": operation.name,
        "state": operation.state,
        "description": operation.description,
        "uris": uris[:MOST_URIS],
        "uri_count": len(uris),
        "manifest_uri": None,
        "bytes": None,
        "eecu_seconds": operation.eecu_seconds,
        "attempt": operation.attempt,
        "start": operation.start_time,
        "end": operation.end_time,
    }
