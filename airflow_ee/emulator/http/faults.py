"""Faults by script: each is aimed at one API method, is consumed by one call, and can be asked after."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_ee.emulator.api.reference import methods
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.limits import too_many_requests

Action = Literal["refuse", "lose-response", "drop", "truncate", "corrupt", "delay", "hang", "fail", "stuck"]
OPERATION_ACTIONS = ("fail", "stuck")
"""Faults of the work that a call starts, not of the call."""

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    text: str
    """What the script said."""
    action: Action
    error: EmulatorError | None = None
    retry_after: str | None = None
    seconds: float = 0.0


def parse_fault(text: str, project: str = "demo-project") -> Fault:
    """A fault from its text.

    >>> parse_fault("429 retry-after=1").retry_after, parse_fault("delay=2.5").seconds
    ('1', 2.5)
    """
    head, *rest = text.split(None, 1)
    tail = rest[0] if rest else ""
    if head in ("lose-response", "drop", "truncate", "corrupt", "hang", "stuck"):
        return Fault(text, head)  # type: ignore[arg-type]
    if head.startswith("delay="):
        return Fault(text, "delay", seconds=float(head.removeprefix("delay=")))
    if head == "fail":
        return Fault(text, "fail", error=_operation_error(tail))
    if head in _STATUS:
        return Fault(text, "refuse", error=_STATUS[head](tail, project), retry_after=_option(tail, "retry-after"))
    raise invalid(f"unknown fault '{text}': see docs/emulator.md for those there are")


def _option(text: str, name: str) -> str | None:
    found = re.search(rf"{name}=(\S+)", text)
    return found[1] if found else None


def _operation_error(tail: str) -> EmulatorError:
    """``fail code=INTERNAL An internal error ...``; without a code it is INVALID_ARGUMENT."""
    code = _option(tail, "code") or "INVALID_ARGUMENT"
    message = re.sub(r"code=\S+\s*", "", tail).strip()
    return EmulatorError(code, message or "Execution failed; out of memory.")


def _quota(tail: str, _project: str) -> EmulatorError:
    if "quota" in tail:
        consumer = "of service 'earthengine.googleapis.com' for consumer 'project_number:1'."
        limit = "limit 'Number of read requests per minute per user'"
        message = f"Quota exceeded for quota metric 'Number of read requests' and {limit} {consumer}"
        return EmulatorError("RESOURCE_EXHAUSTED", message)
    return too_many_requests()


def _denied(tail: str, project: str) -> EmulatorError:
    if "not-registered" in tail:
        page = f"https://console.cloud.google.com/earthengine/configuration?project={project}"
        message = f"Project {project} is not registered to use Earth Engine. Visit {page} to register your project."
        return EmulatorError(
            "PERMISSION_DENIED", message.replace("your project.", "your project for Earth Engine access.")
        )
    if "service-disabled" in tail:
        message = f"Google Earth Engine API has not been used in project {project} before or it is disabled."
        advice = f"Enable it by visiting https://console.developers.google.com/apis/api/earthengine.googleapis.com/overview?project={project} then retry."
        return EmulatorError("PERMISSION_DENIED", f"{message} {advice}", (_info("SERVICE_DISABLED", project),))
    if "scope" in tail:
        message = "Request had insufficient authentication scopes."
        return EmulatorError("PERMISSION_DENIED", message, (_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", project),))
    permission = _option(tail, "permission")
    if permission:
        resource = f"projects/{project}"
        message = f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
        return EmulatorError("PERMISSION_DENIED", message)
    role = "Grant the caller the roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission"
    message = f"Caller does not have required permission to use project {project}. {role}."
    return EmulatorError("PERMISSION_DENIED", message, (_info("USER_PROJECT_DENIED", project),))


def _info(reason: str, project: str) -> dict[str, Any]:
    metadata = {"consumer": f"projects/{project}", "service": "earthengine.googleapis.com"}
    return {"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _bad_request(tail: str, _project: str) -> EmulatorError:
    known = {
        "timeout": "Computation timed out.",
        "memory": "User memory limit exceeded.",
        "too-large": "Total request size (56623104 bytes) must be less than or equal to 50331648 bytes.",
        "aggregations": "Too many concurrent aggregations.",
        "queue": "Too many tasks already in the queue (3000). Please wait for some of them to complete.",
    }
    if tail == "queue":
        return invalid("There are too many tasks already in the queue (3000). Please wait for some to complete.")
    return invalid(known.get(tail, tail or "Invalid request."))


def _unauthenticated(_tail: str, _project: str) -> EmulatorError:
    advice = "Expected OAuth 2 access token, login cookie or other valid authentication credential."
    message = f"Request had invalid authentication credentials. {advice}"
    return EmulatorError("UNAUTHENTICATED", message)


def _internal(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("INTERNAL", "An internal error has occurred (request: 00000000-0000-4000-8000-000000000000)")


def _unavailable(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("UNAVAILABLE", "The service is currently unavailable.")


def _not_found(tail: str, _project: str) -> EmulatorError:
    return EmulatorError("NOT_FOUND", tail or "Requested entity was not found.")


_STATUS = {
    "400": _bad_request,
    "401": _unauthenticated,
    "403": _denied,
    "404": _not_found,
    "429": _quota,
    "500": _internal,
    "503": _unavailable,
}


class FaultPlan:
    """The faults still to come, by method, in order. Safe to use from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = {}
        self._lock = threading.Lock()

    def add(self, method: str, texts: Iterable[str]) -> None:
        """Aim faults at the next calls of a method."""
        faults = [parse_fault(text) for text in texts]
        if method not in {each.name for each in methods()}:
            raise invalid(f"unknown method '{method}': a fault aimed at it would never happen")
        with self._lock:
            self._waiting.setdefault(method, deque()).extend(faults)

    def take(self, method: str, *, operations: bool = False) -> Fault | None:
        """Consume the next fault of a method: of calls, or of the operations that they start."""
        with self._lock:
            waiting = self._waiting.get(method)
            if not waiting or (waiting[0].action in OPERATION_ACTIONS) is not operations:
                return None
            return waiting.popleft()

    @property
    def pending(self) -> dict[str, list[str]]:
        """What has not happened yet, by method."""
        with self._lock:
            return {method: [fault.text for fault in faults] for method, faults in self._waiting.items() if faults}
