"""One look at the service for all triggers of a process that wait for operations of one project."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from airflow_ee.core.errors import EarthEngineError

if TYPE_CHECKING:
    from airflow_ee.core.resources import Operation
    from airflow_ee.hooks.earth_engine import EarthEngineAsyncHook

__all__ = ["EVERY_OPERATION", "FEW_OPERATIONS", "OperationPoller", "Watch", "shared_poller"]

EVERY_OPERATION = ""
"""The mark that every description has."""

# Fewer are asked for one by one, more by reading the project's list.
FEW_OPERATIONS = 5
# A list may lag behind what was started; so many of those that it does not show are asked for in one look.
MOST_GETS = 50
# Who begins to wait is answered so soon, together with all others who began meanwhile.
COALESCE_SECONDS = 1.0
JITTER = (0.8, 1.2)
# While nothing changes, pauses grow to so many intervals.
GROWTH, MOST_GROWN = 1.5, 4.0
log = logging.getLogger(__name__)


class Watch:
    """What one trigger waits to hear of."""

    def __init__(
        self,
        poller: OperationPoller,
        *,
        names: frozenset[str],
        mark: str | None,
        interval_seconds: float,
        in_line: bool,
    ) -> None:
        self.names, self.mark, self.interval_seconds, self.in_line = names, mark, interval_seconds, in_line
        self.told = False
        self._poller = poller
        self._news = asyncio.Event()
        self._answer: Mapping[str, Operation] | Exception = {}

    def __enter__(self) -> Self:
        self._poller._add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._poller._remove(self)

    async def next(self, timeout_seconds: float | None = None) -> Mapping[str, Operation] | None:
        """The next look's operations by name; None when there was none in time.

        :raises EarthEngineError: The look's failure.
        """
        try:
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        except TimeoutError:
            return None
        self._news.clear()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def forget(self, name: str) -> None:
        """Look no more for an operation that has ended."""
        self.names -= {name}

    def tell(self, answer: Mapping[str, Operation] | Exception) -> None:
        """Hand over what a look has found of what is watched."""
        self.told, self._answer = True, answer
        self._news.set()


class OperationPoller:
    """Looks for all who watch, as often as the most impatient of them wishes; use :func:`shared_poller`.

    A few names are asked for one by one; many, or a mark, cost one reading of the project's list, whose requests grow with its
    pages and not with who waits.
    """

    def __init__(self, make_hook: Callable[[], EarthEngineAsyncHook]) -> None:
        self._make_hook = make_hook
        self._hook: EarthEngineAsyncHook | None = None
        self._watches: dict[Watch, None] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._signatures: dict[str, tuple[Any, ...]] = {}
        self._last_look, self._grown, self._jitter = 0.0, 1.0, 1.0

    def watch(
        self,
        *,
        names: frozenset[str] = frozenset(),
        mark: str | None = None,
        interval_seconds: float,
        in_line: bool = False,
    ) -> Watch:
        """Begin to watch, as a context manager: operations of these names, or those whose description has ``mark`` in it.

        :param in_line: Whether it waits for its turn among others that do; see :meth:`rank`.
        """
        return Watch(self, names=names, mark=mark, interval_seconds=interval_seconds, in_line=in_line)

    def rank(self, watch: Watch) -> int:
        """How many in line came before ``watch``."""
        return [each for each in self._watches if each.in_line].index(watch)

    def _add(self, watch: Watch) -> None:
        self._watches[watch] = None
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="earth-engine-operations")

    def _remove(self, watch: Watch) -> None:
        self._watches.pop(watch, None)
        self._changed.set()

    async def _run(self) -> None:
        while self._watches:
            self._changed.clear()
            due = self._due()
            if due > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), due)
                continue
            await self._look_for_all()
        # The next one to wait begins with a fresh connection.
        self._hook, self._signatures = None, {}

    def _due(self) -> float:
        """Seconds until the next look."""
        interval = min(watch.interval_seconds for watch in self._watches)
        pause = interval * self._grown * self._jitter
        if any(not watch.told for watch in self._watches):
            pause = min(pause, COALESCE_SECONDS)
        return self._last_look + pause - time.monotonic()

    async def _look_for_all(self) -> None:
        watches = list(self._watches)
        try:
            found, failed = await self._look(watches)
        except Exception as problem:  # noqa: BLE001 -- each trigger raises it, and each ends by it or waits on
            self._rest(changed=False)
            for watch in watches:
                watch.tell(problem)
            return
        self._rest(changed=self._note(found))
        for watch in watches:
            errors = [failed[name] for name in watch.names if name in failed]
            mine = {
                name: item
                for name, item in found.items()
                if name in watch.names or (watch.mark is not None and watch.mark in item.description)
            }
            watch.tell(errors[0] if errors else mine)

    async def _look(self, watches: list[Watch]) -> tuple[dict[str, Operation], dict[str, EarthEngineError]]:
        if self._hook is None:
            # In a thread: Google's hooks take seconds to import, and the loop serves all triggers of the process.
            self._hook = await asyncio.to_thread(self._make_hook)
        names = frozenset[str]().union(*(watch.names for watch in watches))
        found: dict[str, Operation] = {}
        failed: dict[str, EarthEngineError] = {}
        if len(names) > FEW_OPERATIONS or any(watch.mark is not None for watch in watches):
            found = {operation.name: operation for operation in await self._hook.list_operations()}
        missing = sorted(names - found.keys())
        random.shuffle(missing)
        for name in missing[:MOST_GETS]:
            try:
                found[name] = await self._hook.get_operation(name)
            except EarthEngineError as error:
                failed[name] = error
        return found, failed

    def _note(self, found: Mapping[str, Operation]) -> bool:
        """Whether anything that is watched has changed since the last look."""
        names = frozenset[str]().union(*(watch.names for watch in self._watches))
        marks = [watch.mark for watch in self._watches if watch.mark is not None]
        now = {
            name: item.signature
            for name, item in found.items()
            if name in names or any(mark in item.description for mark in marks)
        }
        before, self._signatures = self._signatures, now
        return now != before

    def _rest(self, *, changed: bool) -> None:
        self._last_look = time.monotonic()
        self._grown = 1.0 if changed else min(MOST_GROWN, self._grown * GROWTH)
        self._jitter = random.uniform(*JITTER)


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, OperationPoller]] = WeakKeyDictionary()


def shared_poller(key: Hashable, make_hook: Callable[[], EarthEngineAsyncHook]) -> OperationPoller:
    """The poller of a connection and project, the same for all triggers of the running loop."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if key not in pollers:
        pollers[key] = OperationPoller(make_hook)
    return pollers[key]
