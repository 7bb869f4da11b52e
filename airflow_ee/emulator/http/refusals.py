"""The refusals that can be scripted, by status and detail, in the words of the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.http.answers import Refusal
from airflow_ee.emulator.http.credentials import rejected
from airflow_ee.emulator.limits import too_many_requests

_CONSOLE = "https://console.cloud.google.com/earthengine/configuration?project="
_OVERVIEW = "https://console.developers.google.com/apis/api/earthengine.googleapis.com/overview?project="


Refuse = Callable[[str], EmulatorError]
"""Makes the refusal for a project: a new one for each call, since an error that is raised twice grows."""


def permission_denied(permission: str) -> Refuse:
    """The caller lacks this permission."""

    def refuse(project: str) -> EmulatorError:
        resource = f"projects/{project}"
        return _denied(f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).")

    return refuse


def later(refuse: Refuse, retry_after: str) -> Refuse:
    """The same refusal with a ``Retry-After`` header."""
    return lambda project: Refusal(refuse(project), {"Retry-After": retry_after})


def in_words(status: str, message: str) -> Refuse | None:
    """A refusal whose words are given; None for a status that has words of its own."""
    code = {"400": "INVALID_ARGUMENT", "404": "NOT_FOUND"}.get(status)
    return _always(code, message) if code else None


def _quota(_project: str) -> EmulatorError:
    consumer = "of service 'earthengine.googleapis.com' for consumer 'project_number:1'."
    limit = "limit 'Number of read requests per minute per user'"
    message = f"Quota exceeded for quota metric 'Number of read requests' and {limit} {consumer}"
    return EmulatorError("RESOURCE_EXHAUSTED", message)


def _not_permitted(project: str) -> EmulatorError:
    permission = "a custom role with the serviceusage.services.use permission"
    role = f"Grant the caller the roles/serviceusage.serviceUsageConsumer role, or {permission}"
    message = f"Caller does not have required permission to use project {project}. {role}."
    return _denied(message, "USER_PROJECT_DENIED", project)


def _not_registered(project: str) -> EmulatorError:
    advice = f"Visit {_CONSOLE}{project} to register your project for Earth Engine access."
    return _denied(f"Project {project} is not registered to use Earth Engine. {advice}")


def _service_disabled(project: str) -> EmulatorError:
    message = f"Google Earth Engine API has not been used in project {project} before or it is disabled."
    return _denied(f"{message} Enable it by visiting {_OVERVIEW}{project} then retry.", "SERVICE_DISABLED", project)


def _scope(project: str) -> EmulatorError:
    return _denied("Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", project)


def _denied(message: str, reason: str = "", project: str = "") -> EmulatorError:
    return EmulatorError("PERMISSION_DENIED", message, (_info(reason, project),) if reason else ())


def _info(reason: str, project: str) -> dict[str, Any]:
    metadata = {"consumer": f"projects/{project}", "service": "earthengine.googleapis.com"}
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _always(code: str, message: str) -> Refuse:
    return lambda _project: EmulatorError(code, message)


_TOO_LARGE = "Total request size (56623104 bytes) must be less than or equal to 50331648 bytes."
_QUEUE = "There are too many tasks already in the queue (3000). Please wait for some to complete."
_INTERNAL = "An internal error has occurred (request: 00000000-0000-4000-8000-000000000000)"

REFUSALS: Mapping[tuple[str, str], Refuse] = {
    ("400", ""): _always("INVALID_ARGUMENT", "Invalid request."),
    ("400", "timeout"): _always("INVALID_ARGUMENT", "Computation timed out."),
    ("400", "memory"): _always("INVALID_ARGUMENT", "User memory limit exceeded."),
    ("400", "too-large"): _always("INVALID_ARGUMENT", _TOO_LARGE),
    ("400", "aggregations"): _always("INVALID_ARGUMENT", "Too many concurrent aggregations."),
    ("400", "queue"): _always("INVALID_ARGUMENT", _QUEUE),
    ("401", ""): lambda _project: rejected("ACCESS_TOKEN_TYPE_UNSUPPORTED", None),
    ("401", "expired"): lambda _project: rejected("ACCESS_TOKEN_EXPIRED", None),
    ("403", ""): _not_permitted,
    ("403", "not-registered"): _not_registered,
    ("403", "service-disabled"): _service_disabled,
    ("403", "scope"): _scope,
    ("404", ""): _always("NOT_FOUND", "Requested entity was not found."),
    ("429", ""): lambda _project: too_many_requests(),
    ("429", "quota"): _quota,
    ("500", ""): _always("INTERNAL", _INTERNAL),
    ("502", ""): _always("BAD_GATEWAY", "Bad gateway."),
    ("503", ""): _always("UNAVAILABLE", "The service is currently unavailable."),
    ("504", ""): _always("DEADLINE_EXCEEDED", "The request deadline was exceeded."),
}
"""By status and the word behind it."""
