"""TLS in front of an emulator, and credentials that count how often they are renewed: tokens never travel over plain HTTP."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from google.auth.credentials import Credentials

AT_ONCE = 1 << 16


class Renewed(Credentials):
    """Tokens ``<name>-0``, ``<name>-1`` and so on."""

    def __init__(self, name: str = "token") -> None:
        super().__init__()
        self._name, self.renewals = name, 0
        self.token = f"{name}-0"

    def refresh(self, _: Any) -> None:
        """Take the next token."""
        self.renewals += 1
        self.token = f"{self._name}-{self.renewals}"


@contextmanager
def secured(url: str, context: ssl.SSLContext) -> Iterator[str]:
    """An https address that leads to ``url``; what goes wrong behind it goes wrong before it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    upstream = (str(urlsplit(url).hostname), int(urlsplit(url).port or 80))
    threading.Thread(target=_accept, args=(listener, upstream, context), daemon=True).start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, upstream: tuple[str, int], context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=_serve, args=(plain, upstream, context), daemon=True).start()


def _serve(plain: socket.socket, upstream: tuple[str, int], context: ssl.SSLContext) -> None:
    with (
        suppress(OSError),
        plain,
        socket.create_connection(upstream) as server,
        context.wrap_socket(plain, server_side=True) as client,
    ):
        try:
            while _passed_on(client, server):
                pass
        except ConnectionResetError:
            # Closed without waiting: a reset, not an end.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _passed_on(client: ssl.SSLSocket, server: socket.socket) -> bool:
    """Carry what has come to the other side; whether both are still there."""
    ready = [client] if client.pending() else select.select([client, server], [], [])[0]
    for side in ready:
        content = side.recv(AT_ONCE)
        if not content:
            return False
        (server if side is client else client).sendall(content)
    return True
