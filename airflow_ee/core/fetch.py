"""Fetch tiles of any number of images at once: bounded in requests and in memory, none left out, none taken twice.

A thread asks for a tile, waits for its answer without holding memory for it, reads the body into a buffer that is used again and
again, and hands the pixels over as views of that buffer. What the service finds too large, too slow or too hungry is cut in four and
asked for in pieces; whoever gets the tile sees one whole.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from airflow_ee.core.buffers import BufferPool, Lease
from airflow_ee.core.client import EarthEngineClient, PixelsCall
from airflow_ee.core.crew import Crew
from airflow_ee.core.decode import AnswerForm, PixelBlock
from airflow_ee.core.errors import TOO_HUNGRY, EarthEngineError, Stopped
from airflow_ee.core.plan import Tile, split_tile
from airflow_ee.core.progress import Progress

__all__ = ["MAX_BUFFER_BYTES", "PixelFetcher", "TileRequest", "run_bounded"]

Item = TypeVar("Item")
Content = TypeVar("Content")
Key = TypeVar("Key")
MAX_BUFFER_BYTES = 256 * 1024 * 1024
"""Memory for answers that are being read, decoded and written, all together."""
ROUNDS = 3
"""Turns that a tile has, each with all of its attempts, while the service still answers others."""
LEAST_WRITERS = 4
"""Tiles that are handed over at once on a machine of few cores: compressing costs memory for each, and a core; storing may wait."""
POLL_SECONDS = 0.05
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TileRequest(Generic[Key]):
    """One tile of one image to fetch."""

    call: PixelsCall
    form: AnswerForm
    tile: Tile
    key: Key
    """Whose tile it is; only handed through."""


class PixelFetcher:
    """Fetches tiles with the quota and the memory that it is given; many images may share one, at the same time too.

    Parameters
    ----------
    max_concurrency
        Requests at once; None: the client's. Never more than the client's.
    max_buffer_bytes
        Memory for answers, all together; a tile that is larger is fetched alone.
    """

    def __init__(
        self,
        client: EarthEngineClient,
        *,
        max_concurrency: int | None = None,
        max_buffer_bytes: int = MAX_BUFFER_BYTES,
        progress: Progress | None = None,
    ) -> None:
        self.client = client
        self.concurrency = client.settings.at_most(max_concurrency)
        """Requests at once, all runs together."""
        self.progress = progress or Progress()
        self._room = threading.Semaphore(self.concurrency)
        self._writers = threading.Semaphore(max(LEAST_WRITERS, _cores()))
        self._pool = BufferPool(max_buffer_bytes)
        self._sizes = _Sizes()
        self._waited_before = client.pixel_gate.waited_seconds

    def run(
        self,
        requests: Iterable[TileRequest[Key]],
        deliver: Callable[[TileRequest[Key], PixelBlock, int], None],
    ) -> None:
        """Fetch every tile and hand each over once, in the order in which answers come.

        A single tile is fetched in the caller's own thread, unless that is the main one, which has to hear signals.

        Parameters
        ----------
        requests
            Taken as there is room for them: a plan of a million tiles costs no memory.
        deliver
            Called from many threads with the request, its pixels, and the number of requests that it took. The pixels'
            memory is used again afterwards. What it raises ends the run.

        Raises
        ------
        EarthEngineError
            The first failure that cannot be cured; the message names the tile.
        """
        remaining = iter(requests)
        first = tuple(islice(remaining, 2))
        pieces: Iterator[_Piece[Key]] = (_Piece(request, request.tile) for request in chain(first, remaining))
        work = _Work(self.client, self._pool, self._room, self._writers, self._sizes, self.progress, deliver)
        work.crew = Crew(pieces, work.do, concurrency=self.concurrency)
        try:
            if len(first) == 1 and threading.current_thread() is not threading.main_thread():
                work.crew.run_here()
            else:
                work.crew.run(self.check)
        finally:
            self.progress.quota_wait_seconds = self.client.pixel_gate.waited_seconds - self._waited_before

    def check(self) -> None:
        """Tell of the progress now and then, and raise :class:`~airflow_ee.core.errors.Stopped` when the client was told to stop."""
        self.client.check_not_stopped()
        self.progress.tell(self.client.pixel_gate.in_flight)


def run_bounded(
    items: Iterable[Item],
    function: Callable[[Item], Content],
    *,
    concurrency: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, Content]]:
    """Yield every item with what ``function`` made of it, in the order in which they are done.

    At most ``concurrency`` items are under way or waiting to be taken, so memory does not grow with their number.

    Parameters
    ----------
    check
        Called a few times a second; what it raises ends the run. What is under way is dropped then, and not waited for.
    """
    results: SimpleQueue[tuple[Item, Content]] = SimpleQueue()
    room = threading.Semaphore(concurrency)

    def work(item: Item) -> tuple[()]:
        while not room.acquire(timeout=0.25):
            crew.check()
        results.put((item, function(item)))
        return ()

    crew = Crew(items, work, concurrency=concurrency)
    crew.start()
    try:
        while not crew.done() or not results.empty():
            check()
            try:
                result = results.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            room.release()
            yield result
    finally:
        crew.end()


class _Sizes:
    """How many pixels of an image are not too many at once: once a tile was, larger ones than those that worked are cut unasked."""

    def __init__(self) -> None:
        self._too_many: dict[PixelsCall, int] = {}
        self._worked: dict[PixelsCall, int] = {}

    def fits(self, call: PixelsCall, pixels: int) -> bool:
        if call not in self._too_many:
            return True
        return pixels <= self._worked.get(call, self._too_many[call] - 1)

    def refused(self, call: PixelsCall, pixels: int) -> None:
        self._too_many[call] = min(pixels, self._too_many.get(call, pixels))
        self._worked.pop(call, None)

    def worked(self, call: PixelsCall, pixels: int) -> None:
        if pixels < self._too_many.get(call, pixels + 1):
            self._worked[call] = max(pixels, self._worked.get(call, 0))


@dataclass(slots=True)
class _Whole:
    """A tile that is put together from pieces."""

    array: npt.NDArray[Any]
    attempts: int = 0
    left: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, tile: Tile, window: Tile, pixels: npt.NDArray[Any], attempts: int) -> bool:
        """Copy a piece to its place; tells whether it was the last."""
        row, col = window.row - tile.row, window.col - tile.col
        self.array[row : row + window.grid.height, col : col + window.grid.width] = pixels
        with self.lock:
            self.attempts += attempts
            self.left -= 1
            return self.left == 0

    def cut(self, pieces: int) -> None:
        """Wait for so many pieces in place of one."""
        with self.lock:
            self.left += pieces - 1


@dataclass(frozen=True, slots=True)
class _Piece(Generic[Key]):
    """A tile, or a part of one that was too large."""

    request: TileRequest[Key]
    window: Tile
    whole: _Whole | None = None
    round: int = 1


@dataclass(slots=True)
class _Work(Generic[Key]):
    """What threads do with a piece."""

    client: EarthEngineClient
    pool: BufferPool
    room: threading.Semaphore
    writers: threading.Semaphore
    sizes: _Sizes
    progress: Progress
    deliver: Callable[[TileRequest[Key], PixelBlock, int], None]
    crew: Crew[_Piece[Key]] = field(init=False)

    def do(self, piece: _Piece[Key]) -> tuple[_Piece[Key], ...]:
        """Fetch and hand over; gives smaller pieces to do in place of one that was too large."""
        with self.room:
            return self._do(piece)

    def _do(self, piece: _Piece[Key]) -> tuple[_Piece[Key], ...]:
        self.crew.check()
        if not self.sizes.fits(piece.request.call, piece.window.grid.pixels):
            parts = self._cut(piece)
            if parts:
                return parts
        answered = self.progress.answers
        form, pixels_asked = piece.request.form, piece.window.grid.pixels
        lease = Lease(
            self.pool,
            self.crew.check,
            most_bytes=form.body_bytes(pixels_asked, widest=True),
            usual_bytes=form.body_bytes(pixels_asked),
        )
        try:
            pixels = self._ask(piece, lease)
            self._hand_over(piece, pixels, lease.attempts)
        except TOO_HUNGRY as error:
            return self._smaller(piece, error)
        except Stopped:
            raise
        except EarthEngineError as error:
            if error.retryable and piece.round < ROUNDS and self.progress.answers > answered:
                log.warning("%s failed %d times, its turn comes again: %s", piece.window, lease.attempts, error)
                return (replace(piece, round=piece.round + 1),)
            raise _named(piece.window, error) from error
        finally:
            lease.give_back()
        return ()

    def _ask(self, piece: _Piece[Key], lease: Lease) -> npt.NDArray[Any]:
        form, shape = piece.request.form, piece.window.grid.shape
        pixels = self.client.fetch_pixels(
            piece.request.call,
            piece.window.grid,
            take=lease.take,
            read=lambda body: form.read(body, shape),
            attempting=lease.attempt,
        )
        self.progress.answered(lease.attempts, pixels.nbytes)
        self.sizes.worked(piece.request.call, piece.window.grid.pixels)
        return pixels

    def _hand_over(self, piece: _Piece[Key], pixels: npt.NDArray[Any], attempts: int) -> None:
        with self.writers, self.crew.writing():
            if piece.whole is not None:
                if not piece.whole.put(piece.request.tile, piece.window, pixels, attempts):
                    return
                pixels, attempts = piece.whole.array, piece.whole.attempts
            self.deliver(piece.request, piece.request.form.block(pixels), attempts)
        self.progress.finished()

    def _smaller(self, piece: _Piece[Key], error: EarthEngineError) -> tuple[_Piece[Key], ...]:
        self.sizes.refused(piece.request.call, piece.window.grid.pixels)
        parts = self._cut(piece)
        if not parts:
            raise _named(piece.window, error) from error
        log.info("%s is too much at once, cut into %d: %s", piece.window, len(parts), error)
        return parts

    def _cut(self, piece: _Piece[Key]) -> tuple[_Piece[Key], ...]:
        windows = split_tile(piece.window, self.client.settings.limits.floor_side)
        if not windows:
            return ()
        self.progress.cut()
        whole = piece.whole or _Whole(np.empty(piece.request.tile.grid.shape, piece.request.form.dtype))
        whole.cut(len(windows))
        return tuple(_Piece(piece.request, window, whole) for window in windows)


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _named(window: Tile, error: EarthEngineError) -> EarthEngineError:
    return type(error)(f"{window}: {error.message}", error.details, error.retry_after_seconds)
