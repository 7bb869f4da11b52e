"""Every failure that Earth Engine, the network or an answer can cause, as one tree of exceptions.

::

    EarthEngineError                     anything this package's core raises about the service
    ├── InvalidArgument (ValueError)     the request is wrong: asking again cannot help
    │   ├── RequestTooLarge              over the service's size limits: ask for less at once
    │   ├── ComputationTimedOut          over the service's time limit: ask for less at once
    │   ├── MemoryLimitExceeded          over the service's memory limit: ask for less at once
    │   ├── AssetNotFound (LookupError)  named in an expression, absent or not readable
    │   └── DuplicateRequest             this requestId already started an operation
    ├── NotFound (LookupError)
    ├── Unauthenticated
    │   └── TokenRefused                 retryable: another token has been fetched
    ├── PermissionDenied
    │   ├── ProjectNotRegistered
    │   ├── ServiceDisabled
    │   └── InsufficientScopes
    ├── ResourceExhausted                retryable
    │   ├── TooManyRequests              retryable: rate or concurrency
    │   ├── QueueFull                    retryable, slowly: too many tasks wait
    │   └── DailyQuotaExceeded           not retryable before the quota is renewed
    ├── Cancelled, Aborted, DeadlineExceeded, AlreadyExists, FailedPrecondition, OutOfRange, Unimplemented
    ├── Unavailable, Internal            retryable
    ├── ConnectionFailed                 retryable: no answer, or half of one
    ├── MalformedResponse                retryable: an answer that is not what was asked for
    │   └── OtherTypes                   retryable: only the types of its pixels are others
    ├── Stopped                          this side was told to stop: SIGTERM, a user's kill
    ├── OperationFailed                  a batch operation ended in failure
    ├── IncompleteJob                    retryable: tiles or shards of a job are missing, which another try fetches
    ├── EngineFailed                     retryable: what runs a job's pieces failed, not one of the pieces
    ├── SomeFailed                       retryable: of many operations, which another try does not start all again
    ├── OperationStuck                   retryable: it runs, and nothing of it changes any more
    └── EecuBudgetExceeded               more compute was used than may be

The service reports timeouts and memory errors as plain HTTP 400, so a status is narrowed by its message. Every class
unpickles (worker processes raise them) and says in ``hint`` what a user can do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "TOO_HUNGRY",
    "Aborted",
    "AlreadyExists",
    "AssetNotFound",
    "Cancelled",
    "ComputationTimedOut",
    "ConnectionFailed",
    "DailyQuotaExceeded",
    "DeadlineExceeded",
    "DuplicateRequest",
    "EarthEngineError",
    "EecuBudgetExceeded",
    "EngineFailed",
    "FailedPrecondition",
    "IncompleteJob",
    "InsufficientScopes",
    "Internal",
    "InvalidArgument",
    "MalformedResponse",
    "MemoryLimitExceeded",
    "NotFound",
    "OperationFailed",
    "OperationStuck",
    "OtherTypes",
    "OutOfRange",
    "PermissionDenied",
    "ProjectNotRegistered",
    "QueueFull",
    "RequestTooLarge",
    "ResourceExhausted",
    "ServiceDisabled",
    "SomeFailed",
    "Stopped",
    "TokenRefused",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "error_from_status",
]

LONGEST_MESSAGE = 10_000
"""Letters of the service's words that are kept."""
Details = tuple[Mapping[str, Any], ...]


class EarthEngineError(Exception):
    """Any failure of a conversation with Earth Engine.

    Parameters
    ----------
    message
        The service's own words, unchanged.
    details
        ``google.rpc.Status.details`` as they came.
    retry_after_seconds
        How long the service asked to wait, if it did.
    """

    code: ClassVar[str] = "UNKNOWN"
    retryable: ClassVar[bool] = False
    throttled: ClassVar[bool] = False
    """Whether the service asks for fewer requests, and nothing is wrong with this one."""
    hint: ClassVar[str] = ""

    def __init__(self, message: str, details: Details = (), retry_after_seconds: float | None = None) -> None:
        super().__init__(message, details, retry_after_seconds)  # positional only: workers pickle these
        self.message, self.details, self.retry_after_seconds = message, details, retry_after_seconds

    def __str__(self) -> str:
        words = f"{self.message} {self.hint}" if self.hint else self.message
        return f"{words} [{self.code}]"


class InvalidArgument(EarthEngineError, ValueError):
    """The request itself is wrong; the same request fails again."""

    code = "INVALID_ARGUMENT"


class RequestTooLarge(InvalidArgument):
    """More bytes, pixels or bands than one request may ask for."""

    hint = "Ask for fewer pixels or bands at once."


class ComputationTimedOut(InvalidArgument):
    """The computation took longer than the service's five minutes."""

    hint = "Ask for a smaller grid, or use EarthEngineExportImageOperator: exports have days instead of minutes."


class MemoryLimitExceeded(InvalidArgument):
    """The computation needed more memory than one request is given."""

    hint = "Ask for a smaller grid or fewer images at once, or use EarthEngineExportImageOperator."


TOO_HUNGRY = (RequestTooLarge, ComputationTimedOut, MemoryLimitExceeded)
"""Refusals that asking for less at once cures."""


class AssetNotFound(InvalidArgument, LookupError):
    """An expression names an asset that does not exist or may not be read."""

    hint = "Check the asset id, and that the caller may read it (roles/earthengine.viewer)."


class DuplicateRequest(InvalidArgument):
    """An operation was already started with this requestId."""

    hint = "Look for it in the project's operations by the mark in its description."


class NotFound(EarthEngineError, LookupError):
    """The asset or operation does not exist."""

    code = "NOT_FOUND"
    hint = "Check the name and the project."


class Unauthenticated(EarthEngineError):
    """No credentials, or credentials that the service does not accept."""

    code = "UNAUTHENTICATED"
    hint = "Check the credentials of the Airflow connection (key, secret, impersonation or application default)."


class TokenRefused(Unauthenticated):
    """The service did not accept a token; another one has been fetched since."""

    retryable = True


class PermissionDenied(EarthEngineError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"
    hint = "Grant the caller the role that has this permission, on the project or the asset."


class ProjectNotRegistered(PermissionDenied):
    """The Cloud project has not been registered for Earth Engine."""

    hint = "Register the project once, on the Earth Engine page of the Cloud console."


class ServiceDisabled(PermissionDenied):
    """The Earth Engine API is switched off in the project."""

    hint = "Enable it: gcloud services enable earthengine.googleapis.com."


class InsufficientScopes(PermissionDenied):
    """The token was made without a scope that the call needs."""

    hint = "Add https://www.googleapis.com/auth/earthengine (or cloud-platform) to the connection's scopes."


class ResourceExhausted(EarthEngineError):
    """A quota is used up for the moment."""

    code = "RESOURCE_EXHAUSTED"
    retryable = True
    throttled = True
    hint = "Lower max_concurrency or requests_per_second of the connection, or use an Airflow pool."


class TooManyRequests(ResourceExhausted):
    """The request rate or the number of requests at once is over the project's limit."""


class QueueFull(ResourceExhausted):
    """The project's queue of batch tasks (3,000) is full."""

    throttled = False
    hint = "Wait until tasks of the queue have run."


class DailyQuotaExceeded(ResourceExhausted):
    """The project's own limit on compute is used up until the quota is renewed."""

    retryable = throttled = False
    hint = "Try again tomorrow, or raise the quota on the Cloud console's quota page."


class Cancelled(EarthEngineError):
    """Somebody cancelled the operation."""

    code = "CANCELLED"


class Aborted(EarthEngineError):
    """The service gave the request up because of a conflict."""

    code = "ABORTED"
    retryable = True


class DeadlineExceeded(EarthEngineError):
    """The service did not answer within its own deadline."""

    code = "DEADLINE_EXCEEDED"
    retryable = True


class AlreadyExists(EarthEngineError):
    """What should be created is there already."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(EarthEngineError):
    """The service's state does not allow this now."""

    code = "FAILED_PRECONDITION"


class OutOfRange(EarthEngineError):
    """A value lies outside what the service takes."""

    code = "OUT_OF_RANGE"


class Unimplemented(EarthEngineError):
    """The server does not offer this method or algorithm."""

    code = "UNIMPLEMENTED"


class Unavailable(EarthEngineError):
    """The service cannot answer just now."""

    code = "UNAVAILABLE"
    retryable = True


class Internal(EarthEngineError):
    """The service failed for a reason of its own."""

    code = "INTERNAL"
    retryable = True


class ConnectionFailed(EarthEngineError):
    """No answer came, or it broke off: name lookup, connection, TLS, timeout, truncated body."""

    code = "CONNECTION_FAILED"
    retryable = True
    hint = "Check the endpoint of the Airflow connection and the network between the worker and it."


class MalformedResponse(EarthEngineError):
    """The answer is complete but is not what was asked for: a proxy's page, a corrupted body."""

    code = "MALFORMED_RESPONSE"
    retryable = True
    hint = "Check that the endpoint of the Airflow connection really is Earth Engine's."


class OtherTypes(MalformedResponse):
    """The pixels are of other types than the image's metadata announce, or the header is corrupted."""

    hint = ""


class Stopped(EarthEngineError):
    """The client was told to stop: the worker goes, or a user killed the task. Another try may go on."""

    code = "STOPPED"
    retryable = True


class OperationFailed(EarthEngineError):
    """A batch operation ended in failure; the message is the operation's own."""

    code = "OPERATION_FAILED"


class IncompleteJob(EarthEngineError):
    """A job cannot be put together: some of its tiles or shards are not there. Run again, it fetches those."""

    code = "INCOMPLETE"
    retryable = True


class EngineFailed(EarthEngineError):
    """What should run the pieces of a job did not: workers died, a scheduler is out of reach. The message is the engine's own."""

    code = "ENGINE_FAILED"
    retryable = True
    hint = "Another try goes on with what is stored."


class SomeFailed(EarthEngineError):
    """Of many operations some failed; another try starts only these."""

    code = "SOME_FAILED"
    retryable = True
    hint = "Another try starts only what is missing."


class OperationStuck(EarthEngineError):
    """An operation runs and nothing of it has changed for longer than it may."""

    code = "OPERATION_STUCK"
    retryable = True


class EecuBudgetExceeded(EarthEngineError):
    """Operations have used more compute than they may."""

    code = "EECU_BUDGET_EXCEEDED"
    hint = "Raise the budget, or make the export smaller."


_BY_NAME: dict[str, type[EarthEngineError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        Unauthenticated,
        PermissionDenied,
        ResourceExhausted,
        Cancelled,
        Aborted,
        DeadlineExceeded,
        AlreadyExists,
        FailedPrecondition,
        OutOfRange,
        Unimplemented,
        Unavailable,
        Internal,
    )
}

# google.rpc.Code, as an operation's error numbers it.
_NAME_BY_NUMBER = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}

# An HTTP status tells less than a Status body; it is used when a proxy answered, or the body is no JSON.
_NAME_BY_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# Messages seen from the service; the first that matches decides, whatever the status says.
_BY_MESSAGE: tuple[tuple[re.Pattern[str], type[EarthEngineError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"computation timed out", ComputationTimedOut),
        (r"user memory limit exceeded|memory limit", MemoryLimitExceeded),
        (r"total request size .* must be less than|pixel grid dimensions .* must be less than", RequestTooLarge),
        (r"request payload size exceeds|too many bands|computed value too large", RequestTooLarge),
        (r"already started with the given request_?id", DuplicateRequest),
        (r"asset '.*' not found|asset .* does not exist or caller does not have access", AssetNotFound),
        (r"many tasks already in the queue", QueueFull),
        (r"custom quota|daily_eecu", DailyQuotaExceeded),
        (r"too many concurrent aggregations|request rate or concurrency limit", TooManyRequests),
        (r"not registered to use earth engine", ProjectNotRegistered),
        (r"has not been used in project .* before or it is disabled", ServiceDisabled),
        (r"insufficient authentication scopes", InsufficientScopes),
    )
)

_BY_REASON = {
    "SERVICE_DISABLED": ServiceDisabled,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": InsufficientScopes,
    "rateLimitExceeded": TooManyRequests,
    "userRateLimitExceeded": TooManyRequests,
}


def error_from_status(
    status: Mapping[str, Any], *, http_status: int | None = None, retry_after_seconds: float | None = None
) -> EarthEngineError:
    """Build the narrowest error for a ``google.rpc.Status``.

    Parameters
    ----------
    status
        ``{"code", "message", "status", "details"}``: from an HTTP body, where ``code`` is the HTTP status and ``status``
        the name, or from an operation, where ``code`` is the number of ``google.rpc.Code``.
    http_status
        The HTTP status, when the error came as a response.
    retry_after_seconds
        The ``Retry-After`` header, when it was sent.

    Examples
    --------
    >>> error_from_status({"code": 400, "message": "User memory limit exceeded.", "status": "INVALID_ARGUMENT"})
    MemoryLimitExceeded('User memory limit exceeded.', (), None)
    >>> error_from_status({"code": 5, "message": "gone"}).code
    'NOT_FOUND'
    """
    message = _printable(status.get("message") or f"HTTP status {http_status} without a message.")
    raw_details = status.get("details")
    details = tuple(item for item in raw_details if isinstance(item, dict)) if isinstance(raw_details, list) else ()
    return _kind(status, message, details, http_status)(message, details, retry_after_seconds)


def _printable(words: Any) -> str:
    """Words that a log can be written with: JSON may hold halves of characters."""
    return str(words)[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()


def _kind(status: Mapping[str, Any], message: str, details: Details, http_status: int | None) -> type[EarthEngineError]:
    for detail in details:
        reason = str(detail.get("reason"))
        if reason in _BY_REASON:
            return _BY_REASON[reason]
    for pattern, kind in _BY_MESSAGE:
        if pattern.search(message):
            return kind
    number = status.get("code", 2)
    name = str(status.get("status") or (_NAME_BY_NUMBER.get(number) if isinstance(number, int) else None))
    if name not in _BY_NAME and http_status is not None:
        name = _NAME_BY_HTTP.get(http_status, "UNAVAILABLE" if http_status >= 500 else "UNKNOWN")
    return _BY_NAME.get(name, EarthEngineError)
