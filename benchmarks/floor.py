"""The client's floor: what reading the same pixels costs when nothing else is done.

It sends the very requests that our client sent (the server's journal keeps them), so the tiles, the mask bands and the bytes are the
same. Each thread keeps one connection and one buffer, reads an answer into it with ``readinto``, and copies each band, seen through
``numpy.frombuffer``, to its place in one array for the whole image: no checks, no retries, no plan. A place is written 64 rows at a
time, which is the fastest way that we know.
"""

import argparse
import ast
import http.client
import json
import queue
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.measure import cost
from benchmarks.scene import position

THREADS = 16
ROWS_AT_ONCE = 64
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and where its pixels belong."""

    path: str
    body: bytes
    row: int
    col: int
    rows: int
    cols: int


def asked(request: dict[str, Any]) -> Asked:
    """A request of the journal."""
    size = request["body"]["grid"]["dimensions"]
    place = position(request["body"]["grid"])
    return Asked(request["path"], json.dumps(request["body"]).encode(), *place, size["height"], size["width"])


def read_image(url: str, requests: list[Asked], threads: int, image: dict[str, np.ndarray]) -> None:
    """Read all tiles to their places in the bands of an image."""
    jobs: queue.SimpleQueue[Asked] = queue.SimpleQueue()
    for request in requests:
        jobs.put(request)
    errors: list[BaseException] = []
    workers = [threading.Thread(target=read_tiles, args=(url, jobs, image, errors)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def read_tiles(
    url: str, jobs: "queue.SimpleQueue[Asked]", image: dict[str, np.ndarray], errors: list[BaseException]
) -> None:
    """One thread: tiles until there are no more."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    buffer = memoryview(bytearray(0))
    try:
        while True:
            job = jobs.get_nowait()
            buffer = read_body(connection, job, buffer)
            place(payload(buffer, job.rows, job.cols), job, image)
    except queue.Empty:
        return
    except Exception as problem:  # noqa: BLE001 -- told by the thread that waits
        errors.append(problem)


def read_body(connection: http.client.HTTPConnection, job: Asked, buffer: memoryview) -> memoryview:
    """Ask, and read the answer into the buffer, or into a larger one; tells which."""
    connection.request("POST", job.path, job.body, HEADERS)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}: {response.read(300)!r}")
    length = int(response.headers["Content-Length"])
    if len(buffer) < length:
        buffer = memoryview(bytearray(length))
    size = 0
    while got := response.readinto(buffer[size:]):
        size += got
    return buffer


def payload(buffer: memoryview, rows: int, cols: int) -> np.ndarray:
    """The structured array of an NPY 1.0 or 2.0 file, nothing copied."""
    size_bytes = 2 if buffer[6] == 1 else 4
    start = 8 + size_bytes + int.from_bytes(buffer[8 : 8 + size_bytes], "little")
    header = ast.literal_eval(bytes(buffer[8 + size_bytes : start]).decode())
    return np.frombuffer(buffer, np.dtype(header["descr"]), rows * cols, start).reshape(rows, cols)


def place(tile: np.ndarray, job: Asked, image: dict[str, np.ndarray]) -> None:
    """Copy each band to where it belongs."""
    for name, band in image.items():
        values = tile[name]
        target = band[job.row : job.row + job.rows, job.col : job.col + job.cols]
        for top in range(0, job.rows, ROWS_AT_ONCE):
            target[top : top + ROWS_AT_ONCE] = values[top : top + ROWS_AT_ONCE]


def first_tile(url: str, request: Asked) -> np.ndarray:
    """One answer, for its types."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    connection.request("POST", request.path, request.body, HEADERS)
    body = connection.getresponse().read()
    connection.close()
    return payload(memoryview(body), request.rows, request.cols)


def empty_image(tile: np.ndarray, rows: int, cols: int) -> dict[str, np.ndarray]:
    """Room for each field of a tile over a whole image; the pages come when they are first written."""
    return {name: np.empty((rows, cols), tile.dtype[name]) for name in tile.dtype.names or ()}


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("journal", type=Path)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--keep-places", type=int, default=0, help="that many tiles in memory, written again and again")
    parser.add_argument("--fresh", action="store_true", help="memory that nothing was written to before")
    options = parser.parse_args()
    requests = [asked(each) for each in json.loads(options.journal.read_text(encoding="utf-8"))]
    if options.keep_places:
        requests = stacked(requests, options.keep_places)
    tile = first_tile(options.url, requests[0])
    image = empty_image(tile, max(r.row + r.rows for r in requests), max(r.col + r.cols for r in requests))
    size = sum(band.nbytes for band in image.values())
    if not options.fresh:
        touch(image)
    figures = cost(
        lambda: read_image(options.url, requests, options.threads, image), memory_bytes=size if options.fresh else 0
    )
    pixel_bytes = sum(r.rows * r.cols for r in requests) * tile.dtype.itemsize
    sys.stdout.write(json.dumps({**figures, "requests": len(requests), "pixel_bytes": pixel_bytes}) + "\n")


def touch(image: dict[str, np.ndarray]) -> None:
    """Write to all of an image once: a machine's first grant of a page can cost more than reading pixels into it."""
    for band in image.values():
        band[...] = 0


def stacked(requests: list[Asked], places: int) -> list[Asked]:
    """The same requests, their tiles one below the other in few places."""
    rows = max(request.rows for request in requests)
    return [
        Asked(request.path, request.body, number % places * rows, 0, request.rows, request.cols)
        for number, request in enumerate(requests)
    ]


if __name__ == "__main__":
    main()
