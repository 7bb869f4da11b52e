"""The one error of the emulator, in the service's own terms.

Whatever goes wrong inside becomes an :class:`EmulatorError`: a google.rpc code name, the message a user reads, and details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "BAD_GATEWAY": 502,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_SHOWN = {"BAD_GATEWAY": "UNAVAILABLE"}
"""google.rpc has no word for a 502."""

RPC_NUMBER = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


class EmulatorError(Exception):
    """A refusal or failure as the service would word it.

    >>> EmulatorError("NOT_FOUND", "no such thing").body()
    {'error': {'code': 404, 'message': 'no such thing', 'status': 'NOT_FOUND'}}
    """

    def __init__(self, code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        return self.message

    @property
    def http_status(self) -> int:
        """The status line that carries this error."""
        return HTTP_STATUS[self.code]

    def body(self) -> dict[str, Any]:
        """The JSON body of an HTTP error answer."""
        error: dict[str, Any] = {
            "code": self.http_status,
            "message": self.message,
            "status": _SHOWN.get(self.code, self.code),
        }
        if self.details:
            error["details"] = [dict(detail) for detail in self.details]
        return {"error": error}

    def status(self) -> dict[str, Any]:
        """The google.rpc.Status of an operation that ended so."""
        return {"code": RPC_NUMBER[self.code], "message": self.message}


def invalid(message: str) -> EmulatorError:
    """What the service calls a bad request."""
    return EmulatorError("INVALID_ARGUMENT", message)


def unimplemented(name: str) -> EmulatorError:
    """An answer that says which method or function is missing here, not at Google's."""
    return EmulatorError("UNIMPLEMENTED", f"{name} is not emulated")


def field_violation(field: str, description: str) -> EmulatorError:
    """A malformed request body, with the field that spoils it."""
    violation: dict[str, Any] = {"description": description}
    if field:
        violation["field"] = field
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
    return EmulatorError("INVALID_ARGUMENT", description, (detail,))
