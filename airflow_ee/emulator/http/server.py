"""uvicorn in a thread of its own, on a socket that is bound before anybody asks for the address."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_ee.emulator.http.admission import Host

STOP_SECONDS = 1
"""How long open requests may go on after the server is told to stop."""

HEADER_SECONDS = 20.0
"""How long a client may take for the head of its first request."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time at all: closing then sends RST instead of FIN."""


class Connections:
    """Open sockets by the client's address, so that a scripted fault can cut one."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.BaseTransport] = {}

    def add(self, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        peer = transport.get_extra_info("peername")
        self._transports[(peer[0], peer[1])] = transport

    def remove(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is gone."""
        self._transports = {peer: other for peer, other in self._transports.items() if other is not transport}

    def abort(self, peer: tuple[str, int], reset: bool = False) -> None:
        """Cut a connection in the middle of whatever it does; by a reset where that is asked for."""
        transport = self._transports.get(peer)
        if isinstance(transport, asyncio.Transport):
            if reset:
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """Uvicorn's protocol, with an entry here for each connection."""
        connections = self

        class Recorded(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                connections.add(transport)
                # asyncio leaves Nagle's algorithm on for sockets it did not make itself: 40 ms lost on every small answer.
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                super().connection_made(transport)
                self.access_log = False  # uvicorn's own lines would show API keys to whoever listens to its logger
                self.loop.call_later(HEADER_SECONDS, self._give_up)

            def _give_up(self) -> None:
                """Close what has not yet made a single request: slow heads must not pile up."""
                if self.cycle is None and not self.transport.is_closing():
                    self.transport.close()

            def connection_lost(self, exc: Exception | None) -> None:
                connections.remove(self.transport)
                super().connection_lost(exc)

        return Recorded


class Server:
    """A running server on one address, and on a second one for the other host; :meth:`stop` returns when it is down."""

    def __init__(
        self, app: ASGIApp, connections: Connections, *, host: str, port: int, high_volume_port: int = 0
    ) -> None:
        self._socket = _bind(host, port)
        try:
            self._high_volume = _bind(host, high_volume_port)
        except OSError:
            self._socket.close()
            raise
        self.host, self.port = host, self._socket.getsockname()[1]
        self.high_volume_port = self._high_volume.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            ws="none",
            loop="asyncio",  # the one whose transports are asyncio.Transport, on every machine
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="earth-engine-emulator", daemon=True)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self._url(self.port)

    @property
    def high_volume_url(self) -> str:
        """Where clients find the other host."""
        return self._url(self.high_volume_port)

    def _url(self, port: int) -> str:
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def host_of(self, scope: Mapping[str, Any], host_header: str) -> Host:
        """By the port that a request came to, or by a Host header such as ``earthengine-highvolume.googleapis.com``."""
        server = scope.get("server") or (None, None)
        high_volume = server[1] == self.high_volume_port or "highvolume" in host_header
        return "high-volume" if high_volume else "standard"

    def _run(self) -> None:
        self._server.run(sockets=[self._socket, self._high_volume])

    def start(self) -> None:
        """Serve; returns at once, since the bound sockets queue what comes early."""
        self._thread.start()

    def stop(self) -> None:
        """Finish open requests, or cut them after a second."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_SECONDS + 5)
        self._socket.close()
        self._high_volume.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named: without that every answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(512)
    except (OSError, OverflowError) as problem:
        bound.close()
        raise OSError(f"cannot listen on {host} port {port}: {problem}") from problem
    return bound
