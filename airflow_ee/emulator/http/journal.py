"""What was asked of the server, for tests to look at. Bounded: a long-running server forgets its oldest calls."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LENGTH = 10_000
_KEPT_BODY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request of a REST method."""

    method: str
    http: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    size: int
    """Bytes of the body."""
    body: Any
    """The JSON body; None for none, or one too long to keep."""


class Journal:
    """Requests in the order of their arrival."""

    def __init__(self) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=LENGTH)
        self._lock = threading.Lock()

    def add(self, request: RecordedRequest) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

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
