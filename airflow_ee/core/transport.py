"""One method that sends one request: connections, credentials and failures are dealt with here and nowhere else."""

from __future__ import annotations

import email.utils
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import google.auth.exceptions
import requests
import urllib3
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter

from airflow_ee import __version__
from airflow_ee.core.errors import (
    ConnectionFailed,
    EarthEngineError,
    MalformedResponse,
    Unauthenticated,
    error_from_status,
)
from airflow_ee.core.settings import ClientSettings, is_loopback

__all__ = ["EMULATOR_HEADER", "Response", "Transport"]

EMULATOR_HEADER = "x-earth-engine-emulator"
"""Set by a local emulator on every answer: ``simulated`` or ``mounted`` say where the imagery came from."""
QUOTA_STATUS_HEADER = "x-earth-engine-quota-status"

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
        self._anonymous = _pooled(requests.Session(), settings.max_concurrency)
        self._anonymous.auth = _as_it_is
        self._authorized: requests.Session | None = None
        if credentials is not None and not isinstance(credentials, AnonymousCredentials):
            self._authorized = _pooled(
                AuthorizedSession(credentials),  # type: ignore[no-untyped-call]
                settings.max_concurrency,
            )
            self._authorized.auth = _billed_to(settings.quota_project or settings.project)
        self._pace = _Pace(settings.requests_per_second)
        self._warned_of_hosts: set[str] = set()

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
        self._pace.wait()
        session, headers = self._session_for(endpoint)
        patience = timeout_seconds or self._settings.request_timeout_seconds
        try:
            with session.request(
                method,
                f"{endpoint.rstrip('/')}/{self._settings.api_version}/{path}",
                data=None if body is None else self._encode(body),
                params=query,
                headers=headers,
                timeout=(min(self._settings.connect_timeout_seconds, patience), patience),
                proxies=_proxies(endpoint),
                # A redirect could carry a token to another host.
                allow_redirects=False,
                stream=True,
            ) as answer:
                # `answer.content` reads in 10 KiB pieces, which costs several times as much on tiles of megabytes.
                content = answer.raw.read(decode_content=True)
                return self._checked(answer, content)
        except google.auth.exceptions.GoogleAuthError as problem:
            kind = ConnectionFailed if _passes(problem) else Unauthenticated
            raise kind(f"No token could be had for {endpoint}: {problem}") from problem
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            raise ConnectionFailed(f"{method} {endpoint}/{path}: {_reason(problem)}") from problem

    def close(self) -> None:
        """Close all connections."""
        self._anonymous.close()
        if self._authorized is not None:
            self._authorized.close()

    def _session_for(self, endpoint: str) -> tuple[requests.Session, dict[str, str]]:
        headers = {"User-Agent": f"airflow-ee/{__version__}", "Content-Type": "application/json"}
        if self._authorized is None:
            return self._anonymous, headers
        if not self._settings.may_send_credentials(endpoint):
            if endpoint not in self._warned_of_hosts:
                self._warned_of_hosts.add(endpoint)
                log.warning("%s is not Google's: requests go there without credentials", endpoint)
            return self._anonymous, headers
        return self._authorized, headers

    def _encode(self, body: Mapping[str, Any]) -> bytes:
        encoded = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        limit = self._settings.limits.max_body_bytes
        if len(encoded) > limit:
            status = {"message": f"Request payload size exceeds the limit: {limit} bytes."}
            raise error_from_status(status, http_status=400)
        return encoded

    def _checked(self, answer: requests.Response, content: bytes) -> Response:
        if answer.status_code == 200:
            _tell_of_restriction(answer.headers.get(QUOTA_STATUS_HEADER, ""))
            return Response(content, answer.headers)
        raise _error(answer, content)


class _Pace:
    """Lets at most so many requests start in a second, evenly spaced, over all threads of this client."""

    def __init__(self, requests_per_second: float) -> None:
        self._step = 1.0 / requests_per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(self._next, now)
            self._next = start + self._step
        if start > now:
            time.sleep(start - now)


def _pooled(session: requests.Session, connections: int) -> requests.Session:
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No authentication; where a session has none of its own, requests looks for a password in ``.netrc``."""
    return request


def _billed_to(project: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Names the project whose quota counts, after google-auth has named the one that the credentials carry."""

    def name(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Goog-User-Project"] = project
        return request

    return name


def _proxies(endpoint: str) -> dict[str, str] | None:
    """None: as the environment says. No proxy leads to this machine, though few environments say so.

    The session's ``trust_env`` would turn proxies off too, and with them the certificates that the environment trusts.
    """
    host = urlsplit(endpoint).hostname or ""
    return {"no_proxy": host} if is_loopback(host) else None


def _passes(problem: BaseException | None) -> bool:
    """Whether a token may be had soon: nothing is wrong with the credentials, their server could not be reached.

    google-auth wraps what happened on the way into the error for credentials that are refused, as cause or argument.
    """
    if isinstance(problem, google.auth.exceptions.TransportError) or getattr(problem, "retryable", False):
        return True
    wrapped = [
        part for part in getattr(problem, "args", ()) if isinstance(part, google.auth.exceptions.GoogleAuthError)
    ]
    return problem is not None and any(map(_passes, (problem.__cause__, *wrapped)))


def _error(answer: requests.Response, content: bytes) -> EarthEngineError:
    retry_after = _retry_after_seconds(answer.headers.get("Retry-After"))
    try:
        status = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        status = {"message": f"HTTP {answer.status_code} {answer.reason}: {content[:200].decode(errors='replace')}"}
    if not isinstance(status, Mapping):
        status = {"message": str(status)}
    return error_from_status(status, http_status=answer.status_code, retry_after_seconds=retry_after)


def _retry_after_seconds(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, which holds a number or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _reason(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"


def _tell_of_restriction(quota_status: str) -> None:
    if "parallelism_restricted=true" in quota_status.replace(" ", "").lower():
        log.warning("Earth Engine restricts this project's parallelism: its compute quota is used up")
