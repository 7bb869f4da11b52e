"""Memory for answers, used again and again: fresh pages cost more than the copying of what is in them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from airflow_ee.core.errors import MalformedResponse

__all__ = ["BufferPool", "Lease"]

CHECK_SECONDS = 0.25


class BufferPool:
    """Buffers of at most so many bytes together; who asks for more waits until one is given back.

    >>> pool = BufferPool(max_bytes=1000)
    >>> buffer = pool.take(600)
    >>> len(buffer)
    600
    >>> pool.give_back(buffer)
    >>> pool.take(500) is buffer
    True
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_buffer_bytes must be at least 1, got {max_bytes}")
        self._max_bytes = max_bytes
        self._allocated = 0
        self._free: list[bytearray] = []
        self._changed = threading.Condition()

    @property
    def allocated_bytes(self) -> int:
        """Bytes of all buffers, in use or not."""
        return self._allocated

    def take(self, size: int, check: Callable[[], None] = lambda: None) -> bytearray:
        """A buffer of at least ``size`` bytes. One that is larger than the whole pool is given when no other is in use.

        Parameters
        ----------
        check
            Called a few times a second while waiting; what it raises ends the wait.
        """
        with self._changed:
            while (buffer := self._find(size)) is None:
                self._changed.wait(CHECK_SECONDS)
                check()
            return buffer

    def give_back(self, buffer: bytearray) -> None:
        """Let others use a buffer; who gives it back may not look at it any more."""
        with self._changed:
            self._free.append(buffer)
            self._changed.notify()

    def _find(self, size: int) -> bytearray | None:
        fitting = [buffer for buffer in self._free if len(buffer) >= size]
        if fitting:
            best = min(fitting, key=len)
            self._free = [buffer for buffer in self._free if buffer is not best]
            return best
        while self._free and self._allocated + size > self._max_bytes:
            self._allocated -= len(self._free.pop(0))
        if self._allocated and self._allocated + size > self._max_bytes:
            return None
        self._allocated += size
        return bytearray(size)


class Lease:
    """A pool's memory for one answer, taken when the answer begins to come.

    A request that is repeated waits for its turn with none: those whose turn it is may be waiting for the very memory that it had.

    Parameters
    ----------
    check
        Called before each request and while waiting for memory; what it raises ends the request.
    most_bytes
        Longest answer that is taken.
    usual_bytes
        Of answers as they are expected: a buffer of so many serves them all.

    Examples
    --------
    >>> lease = Lease(BufferPool(100), lambda: None, most_bytes=50)
    >>> lease.attempt()
    >>> len(lease.take(20)), lease.attempts
    (20, 1)
    >>> lease.give_back()
    """

    def __init__(
        self, pool: BufferPool, check: Callable[[], None], *, most_bytes: int = 0, usual_bytes: int = 0
    ) -> None:
        self._pool, self._check, self._usual_bytes = pool, check, usual_bytes
        self._buffer: bytearray | None = None
        self.most_bytes = most_bytes
        self.attempts = 0
        """Requests so far."""

    def attempt(self) -> None:
        """Count a request, which begins without memory."""
        self._check()
        self.give_back()
        self.attempts += 1

    def take(self, size: int) -> memoryview:
        """Memory of ``size`` bytes.

        Raises
        ------
        MalformedResponse
            When that is more than any answer should have.
        """
        if size > self.most_bytes:
            raise MalformedResponse(f"Expected at most {self.most_bytes} bytes of pixels, got {size}.")
        if self._buffer is None or len(self._buffer) < size:
            self.give_back()
            self._buffer = self._pool.take(max(size, self._usual_bytes), self._check)
        return memoryview(self._buffer)[:size]

    def give_back(self) -> None:
        """Let others use the memory; nobody may look at it any more."""
        if self._buffer is not None:
            self._pool.give_back(self._buffer)
            self._buffer = None
