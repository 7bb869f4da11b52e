"""One method that sends one request: connections, credentials and failures are dealt with here and nowhere else."""

from __future__ import annotations

import email.utils
import functools
import http.client
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import requests
import urllib3
from google.auth.credentials import AnonymousCredentials, Credentials

from airflow_ee import __version__
from airflow_ee.core.connections import Connections
from airflow_ee.core.errors import (
    ConnectionFailed,
    EarthEngineError,
    MalformedResponse,
    TokenRefused,
    error_from_status,
)
from airflow_ee.core.quota import QuotaGate, shared_gate
from airflow_ee.core.settings import ClientSettings
from airflow_ee.core.tokens import TokenSource

__all__ = ["EMULATOR_HEADER", "Response", "Transport"]

EMULATOR_HEADER = "x-earth-engine-emulator"
"""Set by a local emulator on every answer: ``simulated`` or ``mounted`` say where the imagery came from."""
QUOTA_STATUS_HEADER = "x-earth-engine-quota-status"

STALL_SECONDS = 60.0
"""Silence in the middle of a body after which the connection is given up: the service has computed by then, and only sends."""
LONGEST_ERROR_BYTES = 1 << 20
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer."""

    body: bytes
    headers: Mapping[str, str]

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as problem:
            raise MalformedResponse(f"Expected JSON, got {self.body[:200]!r}: {problem}.") from None
        if not isinstance(value, dict):
            raise MalformedResponse(f"Expected a JSON object, got {self.body[:200]!r}.")
        return value


class Transport:
    """Sends requests over a pool of connections, with credentials only to hosts that may have them.

    Parameters
    ----------
    credentials
        None or anonymous: requests carry no token.
    """

    def __init__(self, settings: ClientSettings, credentials: Credentials | None = None) -> None:
        self._settings = settings
        self._connections = Connections(settings.max_concurrency)
        self._tokens: TokenSource | None = None
        if credentials is not None and not isinstance(credentials, AnonymousCredentials):
            self._tokens = TokenSource(credentials, settings.quota_project or settings.project)
        self._gates: dict[str, QuotaGate] = {}
        self._warned_of_hosts: set[str] = set()

    def gate(self, endpoint: str) -> QuotaGate:
        """What bounds the requests to a host, in common with all clients of this process."""
        if endpoint not in self._gates:
            self._gates[endpoint] = shared_gate(self._settings, endpoint)
        return self._gates[endpoint]

    def send(
        self,
        method: str,
        endpoint: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Send one request and return the whole answer.

        Raises
        ------
        EarthEngineError
            The class that fits what the service, the network or the credentials said.
        """
        self.gate(endpoint).pace()
        content = None if body is None else self.encode(body)
        with self._answer(method, endpoint, path, content, query, timeout_seconds) as answer:
            return Response(answer.read(decode_content=True), answer.headers)

    def receive(
        self, endpoint: str, path: str, content: bytes, *, take: Callable[[int], memoryview], check: Callable[[], None]
    ) -> tuple[memoryview, Mapping[str, str]]:
        """POST ``content`` and read the answer into memory of the caller; waits for the quota first.

        Memory is asked for when the headers have come, not before: while the service computes, a request holds none.

        Parameters
        ----------
        take
            Called with the size of the body in bytes; gives memory of that size, or raises.
        check
            Called a few times a second while waiting for the quota.

        Returns
        -------
        The memory with the body in it, and the answer's headers.

        Raises
        ------
        EarthEngineError
            As :meth:`send`; :class:`~airflow_ee.core.errors.MalformedResponse` too when the answer tells no size.
        """
        gate = self.gate(endpoint)
        with gate.slot(check):
            try:
                with self._answer("POST", endpoint, path, content, None, None) as answer:
                    body = _read_into(answer, take, self._settings.request_timeout_seconds)
                    gate.answered(restricted=_restricted(answer.headers))
                    return body, answer.headers
            except EarthEngineError as error:
                if error.throttled:
                    gate.refused()
                raise

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def encode(self, body: Mapping[str, Any]) -> bytes:
        """The body of a request.

        Raises
        ------
        RequestTooLarge
            When it is over the service's limit, in the service's words.
        """
        return self.checked_size(json.dumps(body, separators=(",", ":"), allow_nan=False).encode())

    def checked_size(self, content: bytes) -> bytes:
        """``content`` if the service takes a body of its size."""
        limit = self._settings.limits.max_body_bytes
        if len(content) > limit:
            status = {"message": f"Request payload size exceeds the limit: {limit} bytes."}
            raise error_from_status(status, http_status=400)
        return content

    @contextmanager
    def _answer(
        self,
        method: str,
        endpoint: str,
        path: str,
        content: bytes | None,
        query: Mapping[str, Any] | None,
        timeout_seconds: float | None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """A successful answer, its body not yet read; whatever goes wrong, here or while it is read, is told as ours."""
        patience = timeout_seconds or self._settings.request_timeout_seconds
        timeout = urllib3.Timeout(connect=min(self._settings.connect_timeout_seconds, patience), read=patience)
        target = _quoted(f"/{self._settings.api_version}/{path}")
        if query:
            target += f"?{urlencode(query)}"
        headers = self._headers(method, endpoint)
        try:
            answer = self._connections.open(method, endpoint, target, body=content, headers=headers, timeout=timeout)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as problem:
            raise ConnectionFailed(f"{method} {endpoint}/{path}: {_reason(problem)}") from problem
        whole = False
        try:
            if answer.status != 200:
                raise self._error(answer, endpoint, headers)
            yield answer
            whole = True
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as problem:
            raise ConnectionFailed(f"{method} {endpoint}/{path}: {_reason(problem)}") from problem
        finally:
            # Of an answer that was not read to its end the rest is on its way: that connection serves no other request.
            if whole:
                answer.release_conn()
            else:
                answer.close()
        if self._tokens is not None:
            self._tokens.accepted()

    def _headers(self, method: str, endpoint: str) -> dict[str, str]:
        headers = {
            "User-Agent": f"airflow-ee/{__version__}",
            "Content-Type": "application/json",
            # Pixels hardly shrink, and unpacking them costs ten times as much as reading them.
            "Accept-Encoding": "identity",
        }
        if self._tokens is None:
            return headers
        if self._settings.may_send_credentials(endpoint):
            self._tokens.sign(method, endpoint, headers)
        elif endpoint not in self._warned_of_hosts:
            self._warned_of_hosts.add(endpoint)
            log.warning("%s is not Google's: requests go there without credentials", endpoint)
        return headers

    def _error(self, answer: urllib3.BaseHTTPResponse, endpoint: str, headers: dict[str, str]) -> EarthEngineError:
        error = _error(answer, answer.read(LONGEST_ERROR_BYTES, decode_content=True))
        if answer.status == 401 and self._tokens is not None and "authorization" in headers:  # noqa: SIM102
            if self._tokens.renew(endpoint, headers):
                return TokenRefused(error.message, error.details)
        return error


def _read_into(
    answer: urllib3.BaseHTTPResponse, take: Callable[[int], memoryview], patience_seconds: float
) -> memoryview:
    """The body in memory of the caller, read without a copy on the way."""
    length = answer.headers.get("Content-Length", "")
    if answer.headers.get("Content-Encoding", "identity") != "identity" or not _WHOLE_NUMBER.fullmatch(length):
        return _read_unpacked(answer, take)
    memory = take(int(length))
    socket = getattr(answer.connection, "sock", None)
    if socket is not None:
        socket.settimeout(min(STALL_SECONDS, patience_seconds))
    # urllib3's own readinto() reads into memory of its own first.
    source = answer._fp  # type: ignore[attr-defined]
    until, size = time.monotonic() + patience_seconds, 0
    while size < len(memory):
        count = source.readinto(memory[size:])
        if not count:
            raise ConnectionFailed(f"The connection was closed after {size} of {len(memory)} bytes.")
        size += count
        if time.monotonic() > until:
            raise ConnectionFailed(f"{size} of {len(memory)} bytes came in {patience_seconds:.0f} s.")
    return memory


def _read_unpacked(answer: urllib3.BaseHTTPResponse, take: Callable[[int], memoryview]) -> memoryview:
    """A body of unknown size, as proxies and compression leave it; never more than the caller has memory for."""
    pieces, size = [], 0
    while piece := answer.read(1 << 20, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        take(size)
    memory = take(size)
    memory[:] = b"".join(pieces)
    return memory


@functools.lru_cache(maxsize=256)
def _quoted(path: str) -> str:
    """The path as ``requests`` quotes it, which leaves alone what is quoted."""
    return str(requests.Request("GET", f"http://localhost{path}").prepare().path_url)


def _error(answer: urllib3.BaseHTTPResponse, content: bytes) -> EarthEngineError:
    retry_after = _retry_after_seconds(answer.headers.get("Retry-After"))
    try:
        status = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        status = {"message": f"HTTP {answer.status} {answer.reason}: {content[:200].decode(errors='replace')}"}
    if not isinstance(status, Mapping):
        status = {"message": str(status)}
    return error_from_status(status, http_status=answer.status, retry_after_seconds=retry_after)


def _retry_after_seconds(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, which holds a number or a date."""
    if not value:
        return None
    if _WHOLE_NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"


def _restricted(headers: Mapping[str, str]) -> bool:
    return "parallelism_restricted=true" in headers.get(QUOTA_STATUS_HEADER, "").replace(" ", "").lower()
