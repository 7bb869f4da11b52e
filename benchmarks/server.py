"""``python -m benchmarks.server FOLDER``: an emulator, behind a server that computes every kind of request once.

What the emulator answered is sent again, from memory, to every request that differs only in its place. A thread for each connection
reads and writes the bare socket: nothing that a benchmark measures waits for this server's Python. It adds a latency, counts a quota
(open requests, and starts in any second; a refused request counts as none), and keeps a journal. ``/bench`` says and sets all that.
"""

import argparse
import http.client
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.scene import write_scene

PLACES = re.compile(rb'"affineTransform":\s*\{[^}]*\}|"crsTransform":\s*\{"constantValue":\s*\[[^]]*\]\}')
"""What of a request says where: the transform of its grid, or one inside of its expression."""
PIXELS = (":computePixels", ":getPixels", "/thumbnails")
REFUSAL = json.dumps(
    {
        "error": {
            "code": 429,
            "message": "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.",
            "status": "RESOURCE_EXHAUSTED",
        }
    }
).encode()
STACK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that go out as they are."""

    status: int
    content_type: str
    body: bytes

    @property
    def pieces(self) -> tuple[bytes, bytes]:
        """Head and body."""
        head = f"HTTP/1.1 {self.status} {http.client.responses[self.status]}\r\nContent-Type: {self.content_type}\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode(), self.body


@dataclass(slots=True)
class Conditions:
    """What is set from outside."""

    latency_seconds: float = 0.0
    max_open: int = 0
    """0: no limit."""
    starts_per_second: int = 0
    """0: no limit."""
    lowered_after: int = 0
    """So many pixel answers later the two limits are those below; 0: never."""
    lowered_open: int = 0
    lowered_starts: int = 0
    journal: bool = False
    """Whether requests for pixels are kept."""


@dataclass(slots=True)
class Record:
    """What has happened since the conditions were set."""

    requests: int = 0
    computed: int = 0
    """Requests that the emulator had to answer."""
    refused: int = 0
    refused_open: int = 0
    """Of these, for too many open requests."""
    most_open: int = 0
    first: float = 0.0
    """When the first request for pixels came; seconds of a clock that only differences can be taken of."""
    last: float = 0.0
    """When the last answer with pixels was complete."""
    answers: int = 0
    """With pixels."""
    sent: int = 0
    """Bytes of them."""
    lowered_at: float = 0.0
    refused_before: int = 0
    bodies: list[tuple[float, str, bytes]] = field(default_factory=list)
    """When requests came, on the clock of :attr:`first`, their paths and bodies."""

    def as_json(self) -> dict:
        """All but the requests themselves."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "bodies"}


class Quota:
    """Counts open requests and starts; one lock for all connections."""

    def __init__(self) -> None:
        self.conditions, self.record = Conditions(), Record()
        self._open = 0
        self._starts: deque[float] = deque()
        self._lock = threading.Lock()

    def set(self, conditions: Conditions) -> None:
        """Begin anew."""
        with self._lock:
            self.conditions, self.record = conditions, Record()
            self._starts.clear()

    def enter(self) -> bool:
        """Whether one more request may start."""
        now = time.monotonic()
        with self._lock:
            record, conditions = self.record, self.conditions
            record.requests += 1
            record.first = record.first or now
            while self._starts and self._starts[0] <= now - 1.0:
                self._starts.popleft()
            too_many = 0 < conditions.max_open <= self._open
            if too_many or 0 < conditions.starts_per_second <= len(self._starts):
                record.refused += 1
                record.refused_open += too_many
                return False
            self._open += 1
            record.most_open = max(record.most_open, self._open)
            self._starts.append(now)
            return True

    def close(self) -> None:
        """A request is open no more: its answer is there."""
        with self._lock:
            self._open -= 1

    def answered(self, size: int) -> None:
        """An answer has been sent."""
        with self._lock:
            record, conditions = self.record, self.conditions
            record.answers += 1
            record.sent += size
            record.last = time.monotonic()
            if record.answers == conditions.lowered_after:
                conditions.max_open, conditions.starts_per_second = conditions.lowered_open, conditions.lowered_starts
                record.lowered_at, record.refused_before = record.last, record.refused


class Known:
    """Answers by what was asked; the emulator is asked once for each."""

    def __init__(self, upstream: str, quota: Quota) -> None:
        self._upstream = urlsplit(upstream)
        self._quota = quota
        self._answers: dict[bytes, Answer] = {}
        self._locks: dict[bytes, threading.Lock] = {}

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """From memory, or from the emulator."""
        asked = PLACES.sub(b"", body) if is_pixels(path) else body
        key = f"{method} {path}\n".encode() + asked
        known = self._answers.get(key)
        if known is not None:
            return known
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._answers:
                answer = self._ask(method, path, body)
                if answer.status != 200:
                    return answer
                self._answers[key] = answer
                self._quota.record.computed += 1
            return self._answers[key]

    def _ask(self, method: str, path: str, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(str(self._upstream.hostname), self._upstream.port, timeout=300)
        try:
            connection.request(method, path, body or None, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = narrowed(response.read())
            return Answer(response.status, response.headers.get("Content-Type", "text/plain"), content)
        finally:
            connection.close()


def narrowed(body: bytes) -> bytes:
    """NPY of doubles as floats, anything else as it is.

    xee fills masked pixels with a large integer, by which the emulator makes a float image one of doubles. Whether the service does
    so too is not known: xee gets the benefit of the doubt, which is half of the bytes.
    """
    if not body.startswith(b"\x93NUMPY") or b"'<f8'" not in body[:4096]:
        return body
    array = np.load(io.BytesIO(body), allow_pickle=False)
    floats = [(name, "<f4" if array.dtype[name] == np.float64 else array.dtype[name]) for name in array.dtype.names]
    file = io.BytesIO()
    np.save(file, array.astype(floats), allow_pickle=False)
    return file.getvalue()


def is_pixels(path: str) -> bool:
    """Whether a path is one of the methods whose answers are pixels, or lead to them."""
    return any(part in path for part in PIXELS)


def serve(connection: socket.socket, known: Known, quota: Quota) -> None:
    """The requests of one connection, one after the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    with connection:
        while True:
            try:
                request = receive(connection, rest)
                if request is None:
                    return
                method, path, body, rest = request
                respond(connection, known, quota, method, path, body)
            except OSError:
                return  # the client went away, as clients do


def receive(connection: socket.socket, seen: bytes) -> tuple[str, str, bytes, bytes] | None:
    """Method, path, body, and what came after; None at the end of the connection."""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(1 << 16)
        if not piece:
            return None
        seen += piece
    head, _, rest = seen.partition(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    found = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE)
    size = int(found[1]) if found else 0
    while len(rest) < size:
        piece = connection.recv(1 << 16)
        if not piece:
            return None
        rest += piece
    return method, path, rest[:size], rest[size:]


def respond(connection: socket.socket, known: Known, quota: Quota, method: str, path: str, body: bytes) -> None:
    """One answer: from ``/bench`` at once, all others after the latency, pixels within the quota."""
    if path.startswith("/bench"):
        send(connection, bench(quota, path, body))
        return
    begin = time.monotonic()
    latency = quota.conditions.latency_seconds
    if not is_pixels(path):
        answer = known.answer(method, path, body)
        time.sleep(max(0.0, latency - (time.monotonic() - begin)))
        send(connection, answer)
        return
    if not quota.enter():
        send(connection, Answer(429, "application/json", REFUSAL))
        return
    try:
        if quota.conditions.journal:
            quota.record.bodies.append((begin, path, body))
        answer = known.answer(method, path, body)
        time.sleep(max(0.0, latency - (time.monotonic() - begin)))
    finally:
        # Not after it was sent: who has the last byte may ask again before this thread goes on.
        quota.close()
    send(connection, answer)
    quota.answered(len(answer.body))


def bench(quota: Quota, path: str, body: bytes) -> Answer:
    """Set conditions, tell the record or the journal."""
    if path == "/bench/conditions":
        quota.set(Conditions(**json.loads(body)))
    if path == "/bench/journal":
        content = [
            {"seconds": when, "path": each, "body": json.loads(text or b"{}")}
            for when, each, text in list(quota.record.bodies)
        ]
    else:
        content = {**quota.record.as_json(), "cpu_seconds": time.process_time()}
    return Answer(200, "application/json", json.dumps(content).encode())


def send(connection: socket.socket, answer: Answer) -> None:
    """Head and body in as few calls as the socket takes."""
    head, body = answer.pieces
    sent = connection.sendmsg([head, body])
    if sent < len(head):
        connection.sendall(head[sent:])
        sent = len(head)
    if sent - len(head) < len(body):
        connection.sendall(memoryview(body)[sent - len(head) :])


def start_emulator(catalogs: dict[str, Path]) -> tuple[subprocess.Popen[str], str]:
    """An emulator without limits of its own, and where it listens."""
    command = [sys.executable, "-m", "airflow_ee.emulator", "--port", "0", "--cache-bytes", "0", "--processes", "1"]
    command += ["--requests-per-second", "0", "--max-concurrent-requests", "0"]
    for identity, folder in catalogs.items():
        command += ["--catalog", f"{identity}={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image", action="append", default=[], help="BANDSxSIDE")
    parser.add_argument("--dates", type=int, default=0)
    options = parser.parse_args()
    images = [(int(bands), int(side)) for bands, side in (text.split("x") for text in options.image)]
    emulator, upstream = start_emulator(write_scene(options.folder, images, options.dates))
    quota = Quota()
    known = Known(upstream, quota)
    threading.stack_size(STACK_BYTES)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=accept, args=(listener, known, quota), daemon=True).start()
    sys.stdin.read()
    emulator.terminate()
    emulator.wait()


def accept(listener: socket.socket, known: Known, quota: Quota) -> None:
    """A thread for each connection."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, known, quota), daemon=True).start()


if __name__ == "__main__":
    main()
