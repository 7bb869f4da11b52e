"""Answers on their way out: JSON, errors, and the ways in which a body can go wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_ee.emulator.api.calls import Answer
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.http.fields import select_fields

MARKER = "x-earth-engine-emulator"
CHUNK_BYTES = 65_536
PIECE_BYTES = 2**21


class Refusal(EmulatorError):
    """An error with headers of its own."""

    def __init__(self, error: EmulatorError, headers: Mapping[str, str]) -> None:
        super().__init__(error.code, error.message, error.details)
        self.headers = dict(headers)


def answer_response(answer: Answer, query: Mapping[str, str]) -> Response:
    """An answer as HTTP, marked with the imagery that it shows."""
    headers = {MARKER: answer.marker, **answer.headers}
    if not answer.is_json:
        return Pieces(answer.body, 200, headers, answer.content_type)
    mask = query.get("fields") or query.get("$fields")
    body = select_fields(answer.body, mask) if mask else answer.body
    pretty = query.get("prettyPrint") or query.get("$prettyPrint") or "true"
    return json_response(body, headers=headers, pretty=pretty.lower() not in ("false", "0"))


def error_response(problem: EmulatorError) -> Response:
    """An error as HTTP."""
    headers = problem.headers if isinstance(problem, Refusal) else {}
    return json_response(problem.body(), status=problem.http_status, headers=headers)


def json_response(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, pretty: bool = True
) -> Response:
    """JSON, indented unless the query says otherwise."""
    text = json.dumps(body, indent=2) if pretty else json.dumps(body, separators=(",", ":"))
    marked = {MARKER: "true", **(headers or {})}
    return Response(text + "\n", status, marked, "application/json; charset=UTF-8")


class Pieces(Response):
    """A body handed to the socket piece by piece: the server then never holds a second copy of a large one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the pieces, each when the one before is on its way."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(bytes(self.body))
        for start in range(0, len(body), PIECE_BYTES):
            await send({"type": "http.response.body", "body": body[start : start + PIECE_BYTES], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Unfinished(Response):
    """Promises a whole body and sends half of it; then the connection is cut, or nothing comes any more."""

    def __init__(self, response: Response, silence: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(response.body, response.status_code, dict(response.headers))
        self._silence = silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the half."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if self._silence is not None:
            await self._silence()


class Link:
    """A line of limited width that all answers share."""

    def __init__(self, bytes_per_second: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._width = bytes_per_second
        self._monotonic = monotonic
        self._free_at = 0.0

    def reserve(self, size: int) -> float:
        """Seconds until so many more bytes have gone through.

        >>> Link(100.0, lambda: 0.0).reserve(50)
        0.5
        """
        now = self._monotonic()
        self._free_at = max(now, self._free_at) + size / self._width
        return self._free_at - now


class Throttled(Response):
    """A response that takes its time on a link."""

    def __init__(self, response: Response, link: Link) -> None:
        super().__init__(response.body, response.status_code, dict(response.headers))
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the body in pieces."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), CHUNK_BYTES):
            piece = bytes(body[start : start + CHUNK_BYTES])
            await asyncio.sleep(self._link.reserve(len(piece)))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
