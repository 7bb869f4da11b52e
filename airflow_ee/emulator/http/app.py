"""The ASGI application: finds the method, applies faults and limits, runs the work on a thread, writes the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shapely.errors import ShapelyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_ee.emulator.api import reference
from airflow_ee.emulator.api.calls import Answer, Call, SizeRefusal
from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid, unimplemented
from airflow_ee.emulator.http.admission import Admission, Host
from airflow_ee.emulator.http.answers import MARKER, Link, Throttled, answer_response, error_response
from airflow_ee.emulator.http.control import Control
from airflow_ee.emulator.http.credentials import Credentials
from airflow_ee.emulator.http.faults import Fault
from airflow_ee.emulator.http.journal import Journal, RecordedRequest, kept
from airflow_ee.emulator.http.plan import Chance, FaultPlan
from airflow_ee.emulator.http.spoil import BEFORE, spoiled
from airflow_ee.emulator.limits import check_payload

logger = logging.getLogger(__name__)

BODY_SECONDS = 60.0
"""How long a client may take to send a body."""

POLL_SECONDS = 0.02
"""How often a hanging request looks whether the server stops."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""Halves of characters: only in pairs are they text."""

Handler = Callable[[Call], Answer]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a server asks of its clients, and how well it treats them."""

    max_concurrent_requests: int | None = 40
    """For each host and project; None for no limit."""
    requests_per_second: float | None = 100.0
    """Starts in any second, for each project; None for no limit."""
    latency_seconds: float = 0.0
    bandwidth_bytes_per_second: float | None = None
    chance: Chance = field(default_factory=Chance)
    credentials: Credentials = field(default_factory=Credentials)

    def __post_init__(self) -> None:
        if not 0 <= self.latency_seconds < math.inf:
            raise ValueError(f"a latency must be at least 0 seconds, got {self.latency_seconds}")
        for name in ("max_concurrent_requests", "requests_per_second", "bandwidth_bytes_per_second"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be more than 0, got {limit}")


@dataclass(frozen=True, slots=True)
class Sockets:
    """What only the server knows of connections."""

    abort: Callable[[tuple[str, int], bool], None]
    """Cut the connection of a client's address; with True by a reset."""
    host: Callable[[Mapping[str, Any], str], Host]
    """Which of the two hosts a request came to, from its ASGI scope and its Host header."""


class Application:
    """Answers REST calls with handlers, and ``/emulator`` with what it knows of itself."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        sockets: Sockets,
        conditions: Conditions,
        control: Callable[[FaultPlan, Journal], Control],
        threads: int = 96,
    ) -> None:
        self.faults = FaultPlan(conditions.chance)
        self.journal = Journal()
        self.stopping = False
        self._handlers = handlers
        self._sockets = sockets
        self._conditions = conditions
        self._control = control(self.faults, self.journal)
        self._admission = Admission(
            max_concurrent_requests=conditions.max_concurrent_requests,
            requests_per_second=conditions.requests_per_second,
        )
        width = conditions.bandwidth_bytes_per_second
        self._link = Link(width) if width else None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="emulator")

    def close(self) -> None:
        """Let hanging requests go, and start no more work."""
        self.stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response | None:
        path = request.scope["path"]
        try:
            found = reference.find(request.method, path)
            if found is not None:
                return await self._method(*found, request)
            if request.method == "OPTIONS" and reference.allowed(path):
                return Response(b"", 204, {MARKER: "true", "Allow": ", ".join([*reference.allowed(path), "OPTIONS"])})
            return self._control.answer(request.method, path, request.query_params, parsed(await received(request)))
        except EmulatorError as problem:
            return error_response(problem)

    async def _method(self, method: reference.Method, parameters: dict[str, str], request: Request) -> Response | None:
        try:
            body = await received(request)
        except EmulatorError:
            self._record(method.name, request, b"")
            raise
        self._record(method.name, request, body)
        headers, query = dict(request.headers), dict(request.query_params)
        self._conditions.credentials.check(method, headers, query)
        fault = self.faults.take(method.name)
        if fault is not None:
            logger.info("Fault %s on %s", fault.text, method.name)
            if fault.action in BEFORE:
                return await self._instead(fault, request, _project(parameters))
            await asyncio.sleep(fault.seconds)
        host = self._sockets.host(request.scope, headers.get("host", ""))
        with ExitStack() as admitted:
            try:
                admitted.enter_context(self._admission.entered(_project(parameters), host))
            finally:
                # A refusal travels as long as any other answer, and a request on its way has its place among those under way.
                await asyncio.sleep(self._conditions.latency_seconds)
            response = await self._work(method, parameters, query, body)
        return await self._sent(fault, request, response)

    def _record(self, method: str, request: Request, body: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query_params)
        size = max(len(body), _declared_size(request))
        path = request.scope["path"]
        self.journal.add(RecordedRequest(method, request.method, path, query, headers, size, kept(body)))

    async def _work(
        self, method: reference.Method, parameters: dict[str, str], query: dict[str, str], body: bytes
    ) -> Response:
        handler = self._handlers.get(method.name)
        if handler is None:
            raise unimplemented(f"projects.{method.name.replace(':', '.')}")
        reference.check_query(method, query)
        content = parsed(body) if body and method.http in ("POST", "PATCH") else {}
        checked = reference.check(method.request, content) if method.request else {}
        call = Call(method.name, parameters, query, checked, self.faults.size_rules(method.name))
        loop = asyncio.get_running_loop()

        def respond() -> Response:
            # Large JSON takes seconds to write: on this thread it holds up nobody else.
            return answer_response(guarded(handler, call), query)

        try:
            return await loop.run_in_executor(self._pool, respond)
        except SizeRefusal as refusal:
            self.faults.note_size(method.name, refusal.message)
            raise

    async def _instead(self, fault: Fault, request: Request, project: str) -> Response | None:
        """Apply a fault that comes in the place of the work."""
        if fault.action == "hang":
            await self._silence(request)
        if fault.action in ("drop", "reset", "hang"):
            await self._drop(request, reset=fault.action == "reset")
            return None
        if fault.refuse is not None:
            raise fault.refuse(project)
        return spoiled(fault, Response(), None)

    async def _sent(self, fault: Fault | None, request: Request, response: Response) -> Response | None:
        """The response, spoiled by a fault or slowed down by the link."""
        if fault is not None and fault.action == "lose-response":
            await self._drop(request, reset=False)
            return None
        if fault is not None and fault.action != "delay":
            return spoiled(fault, response, lambda: self._silence(request))
        return Throttled(response, self._link) if self._link is not None else response

    async def _silence(self, request: Request) -> None:
        while not self.stopping and not await request.is_disconnected():
            await asyncio.sleep(POLL_SECONDS)

    async def _drop(self, request: Request, *, reset: bool) -> None:
        """Cut the connection, and wait until the server has noticed: it would answer 500 otherwise."""
        client = request.scope["client"]
        self._sockets.abort((client[0], client[1]), reset)
        while not await request.is_disconnected():
            await asyncio.sleep(0)


def _project(parameters: Mapping[str, str]) -> str:
    return next((value.split("/")[1] for value in parameters.values() if value.startswith("projects/")), "")


def _declared_size(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


async def received(request: Request) -> bytes:
    """A request's body; one that is too long is refused before it has come, one that does not come is given up."""
    check_payload(_declared_size(request))
    try:
        return await asyncio.wait_for(_collected(request), BODY_SECONDS)
    except TimeoutError:
        raise ClientDisconnect from None


async def _collected(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        check_payload(size)
    return b"".join(pieces)


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
    except ShapelyError as problem:
        raise invalid(f"Geometry cannot be computed with: {problem}.") from problem
    except Exception as problem:
        logger.exception("Internal error in %s", call.method)
        raise EmulatorError(
            "INTERNAL", f"An internal error has occurred ({type(problem).__name__}: {problem})"
        ) from problem


def parsed(body: bytes) -> Any:
    """A JSON body; what JSON has no word for (NaN, infinite numbers, half characters) is refused as the service does."""
    try:
        content = json.loads(body or b"{}", parse_constant=_no_constant, parse_float=_finite)
        if _SURROGATE.search(body):
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise field_violation("", "Invalid JSON payload received. Unexpected token.") from None
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
