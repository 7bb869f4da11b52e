"""Faults from their texts: what goes wrong, how often, and for which requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_ee.emulator.api.calls import SizeRule
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.http.answers import Refusal
from airflow_ee.emulator.http.credentials import rejected
from airflow_ee.emulator.limits import too_many_requests

Plain = Literal[
    "lose-response", "drop", "reset", "truncate", "stall", "corrupt", "scramble", "wrong-dtype", "hang", "stuck"
]
Action = Literal[Plain, "refuse", "page", "content-type", "delay", "fail", "size"]
OPERATION_ACTIONS = ("fail", "stuck")
"""Faults of the work that a call starts, not of the call."""

MAX_TIMES = 10_000

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_TOO_LARGE = {"memory": "User memory limit exceeded.", "timeout": "Computation timed out."}
_HOW_OFTEN = re.compile(r"\s+(?:always|times=(\d+))$")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    text: str
    """What the script said."""
    action: Action
    error: EmulatorError | None = None
    seconds: float = 0.0
    content_type: str = ""
    size: SizeRule | None = None
    status: int = 200
    times: int | None = 1
    """How many calls it happens to; None for all of them, until it is cleared."""


def parse_fault(text: str, project: str = "demo-project") -> Fault:
    """A fault from its text.

    >>> parse_fault("delay=2.5").seconds, parse_fault("503 times=3").times, parse_fault("memory over=65536px").times
    (2.5, 3, None)
    """
    often = _HOW_OFTEN.search(text)
    what = text[: often.start()] if often else text
    times = 1 if often is None else None if often[1] is None else int(often[1])
    if times is not None and not 1 <= times <= MAX_TIMES:
        raise invalid(f"fault '{text}': times must be between 1 and {MAX_TIMES}")
    head, *rest = what.split(None, 1) or [""]
    return _fault(text, head, rest[0] if rest else "", times, project)


def _fault(text: str, head: str, tail: str, times: int | None, project: str) -> Fault:
    if head in _TOO_LARGE and _option(tail, "over"):
        return Fault(text, "size", size=_size_rule(text, head, tail), times=None)
    if head in get_args(Plain):
        return Fault(text, head, times=times)  # type: ignore[arg-type]
    if head.startswith("delay="):
        return Fault(text, "delay", seconds=_seconds(text, head), times=times)
    if head.startswith("content-type="):
        return Fault(text, "content-type", content_type=head.removeprefix("content-type="), times=times)
    if head == "fail":
        return Fault(text, "fail", error=_operation_error(tail), times=times)
    if head in ("500", "502", "503", "504") and tail == "html":
        return Fault(text, "page", status=int(head), times=times)
    if head in _STATUS:
        return Fault(text, "refuse", error=_with_retry_after(_STATUS[head](tail, project), tail), times=times)
    raise invalid(f"unknown fault '{text}': see docs/emulator.md for those there are")


def _with_retry_after(error: EmulatorError, tail: str) -> EmulatorError:
    seconds = _option(tail, "retry-after")
    return Refusal(error, {"Retry-After": seconds}) if seconds else error


def _size_rule(text: str, head: str, tail: str) -> SizeRule:
    pixels = (_option(tail, "over") or "").removesuffix("px")
    if not pixels.isdigit():
        raise invalid(f"fault '{text}': expected over=PIXELSpx")
    return SizeRule(int(pixels), _TOO_LARGE[head])


def _seconds(text: str, head: str) -> float:
    try:
        return float(head.removeprefix("delay="))
    except ValueError:
        raise invalid(f"fault '{text}': expected delay=SECONDS") from None


def error_page(status: int) -> bytes:
    """The page of a proxy that found no server behind it: no JSON at all."""
    names = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
    title = f"Error {status} ({names[status]})!!1"
    advice = (
        "The server encountered a temporary error and could not complete your request. Please try again in 30 seconds."
    )
    return f"<!DOCTYPE html>\n<html lang=en>\n<title>{title}</title>\n<p><b>{status}.</b> {advice}\n".encode()


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
        message = f"Project {project} is not registered to use Earth Engine. Visit {page} to register your project for Earth Engine access."
        return EmulatorError("PERMISSION_DENIED", message)
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
        "queue": "There are too many tasks already in the queue (3000). Please wait for some to complete.",
    }
    return invalid(known.get(tail, tail or "Invalid request."))


def _unauthenticated(tail: str, _project: str) -> EmulatorError:
    return rejected("ACCESS_TOKEN_EXPIRED" if tail == "expired" else "ACCESS_TOKEN_TYPE_UNSUPPORTED", None)


def _bad_gateway(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("BAD_GATEWAY", "Bad gateway.")


def _deadline(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("DEADLINE_EXCEEDED", "The request deadline was exceeded.")


def _internal(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("INTERNAL", "An internal error has occurred (request: 00000000-0000-4000-8000-000000000000)")


def _unavailable(_tail: str, _project: str) -> EmulatorError:
    return EmulatorError("UNAVAILABLE", "The service is currently unavailable.")


def _not_found(tail: str, _project: str) -> EmulatorError:
    return EmulatorError("NOT_FOUND", tail or "Requested entity was not found.")


_STATUS: dict[str, Callable[[str, str], EmulatorError]] = {
    "400": _bad_request,
    "401": _unauthenticated,
    "403": _denied,
    "404": _not_found,
    "429": _quota,
    "500": _internal,
    "502": _bad_gateway,
    "503": _unavailable,
    "504": _deadline,
}
