"""The token of requests: one for all threads, fetched anew once and not by each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import google.auth.exceptions
import google.auth.transport.requests
from google.auth.credentials import Credentials

from airflow_ee.core.errors import ConnectionFailed, Unauthenticated

__all__ = ["TokenSource"]

LONGEST_ROW_OF_REFUSALS = 3
"""Tokens refused in a row after which the credentials themselves are taken to be wrong."""


class TokenSource:
    """Puts a valid token into the headers of requests; safe to use from many threads.

    Parameters
    ----------
    credentials
        Of ``google.auth``.
    quota_project
        Project whose quota counts, whatever project the credentials carry.
    """

    def __init__(self, credentials: Credentials, quota_project: str) -> None:
        self._credentials, self._quota_project = credentials, quota_project
        self._request = google.auth.transport.requests.Request()
        self._lock = threading.Lock()
        self._refusals = 0

    def sign(self, method: str, url: str, headers: dict[str, str]) -> None:
        """Add the token, fetched anew when it is about to expire; the other threads wait for that one fetch.

        Raises
        ------
        Unauthenticated
            When the credentials are refused.
        ConnectionFailed
            When the server of tokens could not be reached.
        """
        with self._lock:
            _translated(url, lambda: self._credentials.before_request(self._request, method, url, headers))  # type: ignore[no-untyped-call]
        headers["X-Goog-User-Project"] = self._quota_project

    def renew(self, url: str, headers: dict[str, str]) -> bool:
        """After a 401: fetch another token, unless another thread has; tells whether it is worth asking once more."""
        with self._lock:
            if headers.get("authorization") != f"Bearer {self._credentials.token}":
                return True
            self._refusals += 1
            if self._refusals > LONGEST_ROW_OF_REFUSALS:
                return False
            _translated(url, lambda: self._credentials.refresh(self._request))  # type: ignore[no-untyped-call]
            return True

    def accepted(self) -> None:
        """Tell that the service took a token."""
        self._refusals = 0


def _translated(url: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except google.auth.exceptions.GoogleAuthError as problem:
        kind = ConnectionFailed if _passes(problem) else Unauthenticated
        raise kind(f"No token could be had for {url}: {problem}") from problem


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
