"""Threads that work through items, in bounded memory, and that nobody has to wait for when the work is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from airflow_ee.core.errors import Stopped

__all__ = ["Crew"]

Item = TypeVar("Item")
CHECK_SECONDS = 0.25
"""How often a wait looks whether it was told to stop; signals reach only the main thread between two looks."""
SETTLE_SECONDS = 3.0
"""How long the end of a failed work waits for what is being written; answers of the service are not waited for."""


class Crew(Generic[Item]):
    """Does ``work`` for every item, many at once; the first failure ends it all.

    Threads are daemons: an interpreter that ends does not wait for an answer that may take minutes. Items are taken from the
    iterable only when a thread is free for them.

    Parameters
    ----------
    work
        Called with an item, from a thread; gives items to do before all others, such as the parts of one that was too large.
    concurrency
        Threads; they are made as they are needed.

    Examples
    --------
    >>> seen = []
    >>> Crew([1, 2, 3], lambda item: seen.append(item) or (), concurrency=2).run()
    >>> sorted(seen)
    [1, 2, 3]
    """

    def __init__(self, items: Iterable[Item], work: Callable[[Item], Iterable[Item]], *, concurrency: int) -> None:
        self._items, self._work, self._concurrency = iter(items), work, concurrency
        self._first: list[Item] = []
        self._changed = threading.Condition()
        self._threads = self._busy = self._writing = 0
        self._exhausted = self._ended = False
        self._failure: BaseException | None = None

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Work until every item is done.

        Parameters
        ----------
        check
            Called a few times a second; what it raises ends the work.

        Raises
        ------
        BaseException
            What ``work``, the items' own iterator or ``check`` raised first.
        """
        self.start()
        try:
            while not self.done():
                check()
                self.rest()
        finally:
            self.end()

    def run_here(self) -> None:
        """Work in the caller's thread alone: quicker for few items, where that thread is one of another crew.

        Raises
        ------
        BaseException
            What ``work`` or the items' own iterator raised.
        """
        self._threads = self._concurrency
        self._loop()
        self.done()

    def start(self) -> None:
        """Begin."""
        with self._changed:
            self._add_thread()

    def done(self) -> bool:
        """Whether every item is done; raises the first failure."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            return self._exhausted and not self._first and not self._busy

    def rest(self, seconds: float = CHECK_SECONDS) -> None:
        """Wait a moment, or until something has happened."""
        with self._changed:
            if self._failure is None and not (self._exhausted and not self._first and not self._busy):
                self._changed.wait(seconds)

    def check(self) -> None:
        """Raise :class:`~airflow_ee.core.errors.Stopped` when the work has ended: threads call this between two steps."""
        if self._ended:
            raise Stopped("The work was given up.")

    def writing(self) -> _Writing:
        """For a ``with`` block that must not be left in the middle: the end of a failed work waits for it."""
        return _Writing(self)

    def end(self) -> None:
        """Have all threads end; what is being written is waited for, answers are not."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            until = time.monotonic() + SETTLE_SECONDS
            while self._writing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _add_thread(self) -> None:
        if self._threads < self._concurrency:
            self._threads += 1
            threading.Thread(target=self._loop, name=f"earth-engine-{self._threads}", daemon=True).start()

    def _loop(self) -> None:
        for item in iter(self._next, None):
            try:
                more = tuple(self._work(item[0]))
            except BaseException as error:  # noqa: BLE001 - whoever waits raises it
                self._fail(error)
                return
            with self._changed:
                self._first.extend(more)
                self._busy -= 1
                self._changed.notify_all()

    def _next(self) -> tuple[Item] | None:
        """The next item; None when there is none and none can come any more."""
        with self._changed:
            while not self._ended and self._failure is None:
                found = self._take()
                if found is not None:
                    self._busy += 1
                    self._add_thread()
                    return found
                if not self._busy:
                    self._changed.notify_all()
                    return None
                self._changed.wait()
            return None

    def _take(self) -> tuple[Item] | None:
        if self._first:
            return (self._first.pop(),)
        if self._exhausted:
            return None
        try:
            return (next(self._items),)
        except StopIteration:
            self._exhausted = True
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            self._failure = error
        return None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._busy -= 1
            self._changed.notify_all()


class _Writing:
    def __init__(self, crew: Crew[Item]) -> None:
        self._crew = crew

    def __enter__(self) -> None:
        with self._crew._changed:
            self._crew.check()
            self._crew._writing += 1

    def __exit__(self, *_: object) -> None:
        with self._crew._changed:
            self._crew._writing -= 1
            self._crew._changed.notify_all()
