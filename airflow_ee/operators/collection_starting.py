"""Starting the operations of many images, a few requests at once, each image's once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_ee.core.errors import Aborted, DuplicateRequest, EarthEngineError, InvalidArgument, NotFound, QueueFull
from airflow_ee.core.operations import find_marked

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Operation
    from airflow_ee.operators.collection_board import Attempts, TryProgress

__all__ = ["CollectionStarter"]

# More would only wait for each other: the service takes about a hundred requests a second of a project.
REQUESTS_AT_ONCE = 8
# The list of operations may lag behind the start of one: look again after these seconds. A minute in all, because an
# export that is taken for missing is started a second time.
LOOK_AGAIN_SECONDS = (0.0, 1.0, 4.0, 15.0, 40.0)
# When the service refuses so many images and has taken none, it would refuse all.
MOST_REFUSED_AT_FIRST = 10
# So many are kept through deferrals, in Airflow's database.
MOST_REFUSED = 100
LONGEST_WORDS = 200
SETTLE_SECONDS = 1.5
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Round:
    """What one round of requests has come to."""

    operations: list[Operation] = field(default_factory=list)
    duplicates: list[tuple[Attempts, int]] = field(default_factory=list)
    refused: list[tuple[Attempts, EarthEngineError]] = field(default_factory=list)
    full: bool = False
    failure: EarthEngineError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be asked for."""
        hopeless = len(self.refused) >= MOST_REFUSED_AT_FIRST and not self.operations
        return self.full or hopeless or self.failure is not None


@dataclass(slots=True)
class CollectionStarter:
    """
    Starts operations of images that have none.

    :param client: The client to ask with.
    :param words: That begin descriptions.
    :param progress: The try's; what is used up or refused is noted there.
    :param killed: Whether the task was told to end: nothing is started then, and what is on its way is cancelled.
    :param cancel: Cancels an operation that was started while the task was told to end.
    """

    client: EarthEngineClient
    words: str
    progress: TryProgress
    killed: Callable[[], bool]
    cancel: Callable[[Operation], None]
    _asking: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, missing: Sequence[Attempts]) -> tuple[list[Operation], bool]:
        """
        Ask for all of these; gives the operations, and whether the queue took all of them.

        :param missing: Images to start.
        :raises EarthEngineError: When the service refuses what concerns all images, or answers no more.
        """
        done = _Round()
        self._ask_all(missing, done)
        if done.duplicates and not self.killed():
            done.operations += self._find(done.duplicates)
        self._note(done)
        return done.operations, not done.full

    def settle(self) -> None:
        """Wait a moment for answers to requests that are on their way: what they start is cancelled with the rest."""
        end = time.monotonic() + SETTLE_SECONDS
        while self._asking and time.monotonic() < end:
            time.sleep(0.02)

    def _ask_all(self, missing: Sequence[Attempts], done: _Round) -> None:
        # Here and not above: it brings numpy, and DAG files are to be parsed quickly.
        from airflow_ee.core.fetch import run_bounded

        def check() -> None:
            if self.killed():
                self.settle()
                raise RuntimeError("The task was killed while it started exports")

        requests = run_bounded(missing, lambda each: self._ask(each, done), concurrency=REQUESTS_AT_ONCE, check=check)
        for _ in requests:
            pass
        check()

    def _ask(self, each: Attempts, done: _Round) -> None:
        with self._lock:
            if done.over or self.killed():
                return
            self._asking += 1
        try:
            self._ask_once(each, each.next_number(self.progress), done)
        finally:
            with self._lock:
                self._asking -= 1

    def _ask_once(self, each: Attempts, number: int, done: _Round) -> None:
        identity = each.export.identity
        request = replace(each.export.request, description=identity.describe(self.words, number))
        try:
            operation = self.client.start_operation(request, request_id=identity.request_id(number))
        except DuplicateRequest:
            done.duplicates.append((each, number))
        except QueueFull:
            # A request that is refused so uses its id up.
            self.progress.spent[each.content] = number
            done.full = True
        except (InvalidArgument, NotFound) as error:
            done.refused.append((each, error))
        except EarthEngineError as error:
            done.failure = done.failure or error
        else:
            done.operations.append(operation)
            if self.killed():
                self.cancel(operation)

    def _find(self, duplicates: Sequence[tuple[Attempts, int]]) -> list[Operation]:
        """The operations that the service says it has, looked for all together; ids that have none are used up."""
        wanted = {each.export.identity.mark: number for each, number in duplicates}
        found: list[Operation] = []
        for pause in LOOK_AGAIN_SECONDS:
            time.sleep(pause)
            listed = list(self.client.list_operations())
            for mark in list(wanted):
                later = find_marked(listed, mark, since=wanted[mark])
                if later:
                    found += later
                    del wanted[mark]
            if not wanted or self.killed():
                break
        for each, number in duplicates:
            if each.export.identity.mark in wanted and not self.killed():
                log.warning(
                    "Number %d of the export of %s is used up, and no operation is listed", number, each.export.image_id
                )
                self.progress.spent[each.content] = number
        return found

    def _note(self, done: _Round) -> None:
        if done.failure is not None:
            raise done.failure
        if len(done.refused) >= MOST_REFUSED_AT_FIRST and not done.operations:
            raise done.refused[0][1]
        for each, error in done.refused:
            log.warning("%s is refused: %s", each.export.image_id, error)
            self.progress.refused[each.content] = str(error)[:LONGEST_WORDS]
        if len(self.progress.refused) > MOST_REFUSED:
            raise Aborted(f"The service refuses {len(self.progress.refused)} images, the first: {done.refused[0][1]}")
