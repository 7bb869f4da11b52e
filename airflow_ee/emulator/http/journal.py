"""What was asked of the server, for tests to look at. Bounded: a long-running server forgets its oldest calls."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LENGTH = 10_000
KEPT_BYTES = 64 * 2**20
"""Beyond it the bodies and headers of the oldest requests are forgotten; which methods were called is not."""

_KEPT_BODY_BYTES = 65_536
_OVERHEAD = 2_000
"""Bytes that a request takes beside its texts, about."""

_SECRET = ("key", "$key", "access_token", "oauth_token", "authorization", "x-goog-api-key", "cookie")


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request of a REST method."""

    method: str
    http: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case. Credentials are among them, for tests of clients; they are shown nowhere."""
    size: int
    """Bytes of the body."""
    content: bytes = field(repr=False)
    """The body as it came; nothing where it was too long to keep."""

    @property
    def body(self) -> Any:
        """The JSON body; None for none, for one that is no JSON, or for one too long to keep."""
        return readable(self.content)

    @property
    def weight(self) -> int:
        """Bytes of memory, about."""
        texts = (*self.query.items(), *self.headers.items())
        return _OVERHEAD + len(self.content) + len(self.path) + sum(len(key) + len(value) for key, value in texts)

    def as_json(self) -> dict[str, Any]:
        """All of it but credentials."""
        query = {name: value for name, value in self.query.items() if name not in _SECRET}
        headers = {name: value for name, value in self.headers.items() if name not in _SECRET}
        return {
            "method": self.method, "http": self.http, "path": self.path, "query": query, "headers": headers,
            "size": self.size, "body": self.body,
        }  # fmt: skip


class Journal:
    """Requests in the order of their arrival."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._calls: deque[str] = deque(maxlen=LENGTH)
        self._requests: deque[RecordedRequest] = deque()
        self._bytes = 0
        self._most = kept_bytes
        self._lock = threading.Lock()

    def add(self, request: RecordedRequest) -> None:
        """Remember a request."""
        with self._lock:
            self._calls.append(request.method)
            self._requests.append(request)
            self._bytes += request.weight
            while len(self._requests) > LENGTH or (self._bytes > self._most and len(self._requests) > 1):
                self._bytes -= self._requests.popleft().weight

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._calls.clear()
            self._requests.clear()
            self._bytes = 0

    def as_json(self) -> dict[str, Any]:
        """The requests, without what gives access."""
        return {"requests": [request.as_json() for request in self.requests]}

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far."""
        with self._lock:
            return list(self._requests)

    @property
    def calls(self) -> list[str]:
        """The names of the methods called so far."""
        with self._lock:
            return list(self._calls)


def kept(body: bytes) -> bytes:
    """A body where it is short enough to keep."""
    return body if len(body) <= _KEPT_BODY_BYTES else b""


def readable(body: bytes) -> Any:
    """A body as JSON where it is JSON."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
