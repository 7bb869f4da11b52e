"""What was asked of the server, for tests to look at. Bounded: a long-running server forgets its oldest calls."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LENGTH = 10_000
_KEPT_BODY_BYTES = 65_536
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
    body: Any
    """The JSON body; None for none, or one too long to keep."""

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

    def __init__(self) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=LENGTH)
        self._lock = threading.Lock()

    def add(self, request: RecordedRequest) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

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
        return [request.method for request in self.requests]


def readable(body: bytes) -> Any:
    """A body as JSON where it is short and is JSON."""
    if not body or len(body) > _KEPT_BODY_BYTES:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None
