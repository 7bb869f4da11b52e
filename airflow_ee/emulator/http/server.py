"""uvicorn in a thread of its own, on a socket that is bound before anybody asks for the address."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

STOP_SECONDS = 1
"""How long open requests may go on after the server is told to stop."""


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

    def abort(self, peer: tuple[str, int]) -> None:
        """Cut a connection in the middle of whatever it does."""
        transport = self._transports.get(peer)
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """Uvicorn's protocol, with an entry here for each connection."""
        connections = self

        class Recorded(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                connections.add(transport)
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                connections.remove(self.transport)
                super().connection_lost(exc)

        return Recorded


class Server:
    """A running server; :meth:`stop` returns when it is down."""

    def __init__(self, app: ASGIApp, connections: Connections, *, host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self.host, self.port = host, self._socket.getsockname()[1]
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
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve; returns at once, since the bound socket queues what comes early."""
        self._thread.start()

    def stop(self) -> None:
        """Finish open requests, or cut them after a second."""
        self._server.should_exit = True
        self._thread.join(timeout=STOP_SECONDS + 5)
        self._socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(512)
    except OSError:
        bound.close()
        raise
    return bound
