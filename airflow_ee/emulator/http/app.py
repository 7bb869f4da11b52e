"""The ASGI application: finds the method, applies scripted faults, runs the work on a thread, writes the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_ee.emulator.api import reference
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.api.discovery import discovery_document
from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid, unimplemented
from airflow_ee.emulator.http.faults import Fault, FaultPlan
from airflow_ee.emulator.http.fields import select_fields
from airflow_ee.emulator.http.journal import Journal, RecordedRequest, readable
from airflow_ee.emulator.limits import check_payload, too_many_requests

logger = logging.getLogger(__name__)

MARKER = "x-earth-engine-emulator"
PIECE_BYTES = 2**21
POLL_SECONDS = 0.02
"""How often a hanging request looks whether the server stops."""

Handler = Callable[[Call], Answer]
Result = TypeVar("Result")
Abort = Callable[[tuple[str, int]], None]


class Application:
    """Answers REST calls with handlers, and ``/emulator`` with what it knows of itself."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        state: Callable[[], dict[str, Any]],
        abort: Abort,
        max_concurrent_requests: int | None = 40,
        requests_per_second: float | None = None,
        latency_seconds: float = 0.0,
        threads: int = 48,
    ) -> None:
        self.faults = FaultPlan()
        self.journal = Journal()
        self.stopping = False
        self._handlers = handlers
        self._state = state
        self._abort = abort
        self._max_concurrent = max_concurrent_requests
        self._rate = requests_per_second
        self._latency = latency_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="emulator")
        self._running = 0
        self._recent: deque[float] = deque()

    def close(self) -> None:
        """Let hanging requests go, and start no more work."""
        self.stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        response = await self._respond(request, body)
        if response is not None:
            await response(scope, receive, send)

    async def _respond(self, request: Request, body: bytes) -> Response | None:
        path = request.url.path
        try:
            own = self._own(request, path, body)
            if own is not None:
                return own
            found = reference.find(request.method, path)
            if found is None:
                return error_response(
                    EmulatorError("NOT_FOUND", f"The requested URL {path} was not found on this server.")
                )
            method, parameters = found
            self._record(method.name, request, body)
            return await self._call(method, parameters, request, body)
        except EmulatorError as problem:
            return error_response(problem)

    def _own(self, request: Request, path: str, body: bytes) -> Response | None:
        """What no Earth Engine has: health, state and faults; and the discovery document, which has no method name."""
        if path == "/healthz":
            return json_response({"status": "ok"})
        if path == "/emulator/state":
            return json_response(self._state())
        if path == "/emulator/faults" and request.method == "POST":
            return self._inject(parsed(body))
        version = path.strip("/").removesuffix("$discovery/rest").strip("/")
        if path.endswith("/$discovery/rest") and version in ("", "v1", "v1beta", "v1alpha"):
            return json_response(discovery_document(version or request.query_params.get("version", "v1")))
        return None

    def _inject(self, body: Any) -> Response:
        if not isinstance(body, dict) or not isinstance(body.get("method"), str):
            raise invalid('expected {"method": NAME, "faults": [TEXT, ...]}')
        self.faults.add(body["method"], [str(text) for text in body.get("faults", [])])
        return json_response({"pending": self.faults.pending})

    def _record(self, method: str, request: Request, body: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query_params)
        kept = readable(body)
        self.journal.add(RecordedRequest(method, request.method, request.url.path, query, headers, len(body), kept))

    async def _call(
        self, method: reference.Method, parameters: dict[str, str], request: Request, body: bytes
    ) -> Response | None:
        fault = self.faults.take(method.name)
        if fault is not None:
            logger.info("Fault %s on %s", fault.text, method.name)
            if await self._before(fault, request):
                return None
        if self._latency:
            await asyncio.sleep(self._latency)
        self._admit()
        self._running += 1
        try:
            response = await self._work(method, parameters, request, body)
        finally:
            self._running -= 1
        return await self._after(fault, request, response)

    def _admit(self) -> None:
        """Refuse what exceeds the concurrency or the rate."""
        if self._max_concurrent is not None and self._running >= self._max_concurrent:
            raise too_many_requests()
        if self._rate is not None:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - 1.0:
                self._recent.popleft()
            if len(self._recent) >= self._rate:
                raise too_many_requests()
            self._recent.append(now)

    async def _work(
        self, method: reference.Method, parameters: dict[str, str], request: Request, body: bytes
    ) -> Response:
        check_payload(len(body))
        handler = self._handlers.get(method.name)
        if handler is None:
            raise unimplemented(f"projects.{method.name.replace(':', '.')}")
        content = parsed(body) if body and method.http in ("POST", "PATCH") else {}
        checked = reference.check(method.request, content) if method.request else {}
        call = Call(method.name, parameters, dict(request.query_params), checked)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._pool, guarded, handler, call)
        return answer_response(answer, call.query)

    async def _before(self, fault: Fault, request: Request) -> bool:
        """Apply a fault that comes before the work; True when there is nothing left to do."""
        if fault.action == "refuse":
            assert fault.error is not None
            raise _Refusal(fault)
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
        if fault.action == "hang":
            while not self.stopping and not await request.is_disconnected():
                await asyncio.sleep(POLL_SECONDS)
        if fault.action in ("drop", "hang"):
            await self._drop(request)
            return True
        return False

    async def _after(self, fault: Fault | None, request: Request, response: Response) -> Response | None:
        """Apply a fault that spoils an answer that was made."""
        if fault is None or fault.action == "delay":
            return response
        if fault.action == "lose-response":
            await self._drop(request)
            return None
        if fault.action == "corrupt":
            return Response(b"\x00garbage<html>", 200, {MARKER: "true"}, response.media_type)
        return Truncated(response)

    async def _drop(self, request: Request) -> None:
        """Cut the connection, and wait until the server has noticed: it would answer 500 otherwise."""
        client = request.scope["client"]
        self._abort((client[0], client[1]))
        while not await request.is_disconnected():
            await asyncio.sleep(0)


class _Refusal(EmulatorError):
    """A scripted error, with the headers that the script asks for."""

    def __init__(self, fault: Fault) -> None:
        error = fault.error
        assert error is not None
        super().__init__(error.code, error.message, error.details)
        self.headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}


class Truncated(Response):
    """Promises a whole body and sends half of it: the server then closes the connection."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, response.status_code, dict(response.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the half."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2], "more_body": True})


class Pieces(Response):
    """A body handed to the socket piece by piece: the server then never holds a second copy of a large one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the pieces, each when the one before is on its way."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(bytes(self.body))
        for start in range(0, len(body), PIECE_BYTES):
            await send({"type": "http.response.body", "body": body[start : start + PIECE_BYTES], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def guarded(handler: Callable[[Call], Result], call: Call) -> Result:
    """Run a handler; whatever is not the service's own refusal becomes its internal error, and is logged."""
    try:
        return handler(call)
    except EmulatorError:
        raise
    except RecursionError:
        raise invalid("Expression is nested too deeply.") from None
    except MemoryError:
        raise invalid("User memory limit exceeded.") from None
    except Exception as problem:
        logger.exception("Internal error in %s", call.method)
        raise EmulatorError(
            "INTERNAL", f"An internal error has occurred ({type(problem).__name__}: {problem})"
        ) from problem


def parsed(body: bytes) -> Any:
    """A JSON body; bare NaN and Infinity are refused as the service does."""
    try:
        return json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise field_violation("", "Invalid JSON payload received. Unexpected token.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def answer_response(answer: Answer, query: Mapping[str, str]) -> Response:
    """An answer as HTTP, marked with the imagery that it shows."""
    headers = {MARKER: answer.marker}
    if not answer.is_json:
        return Pieces(answer.body, 200, headers, answer.content_type)
    body = select_fields(answer.body, query["fields"]) if query.get("fields") else answer.body
    return json_response(body, headers=headers, pretty=query.get("prettyPrint", "true") != "false")


def error_response(problem: EmulatorError) -> Response:
    """An error as HTTP."""
    headers = {MARKER: "true", **getattr(problem, "headers", {})}
    return json_response(problem.body(), status=problem.http_status, headers=headers)


def json_response(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, pretty: bool = True
) -> Response:
    """JSON, indented unless the query says otherwise."""
    text = json.dumps(body, indent=2) if pretty else json.dumps(body, separators=(",", ":"))
    marked = {MARKER: "true", **(headers or {})}
    return Response(text + "\n", status, marked, "application/json; charset=UTF-8")
