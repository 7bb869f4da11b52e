"""Do many things at once, in bounded memory, without ever leaving one out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from airflow_ee.core.errors import ComputationTimedOut, EarthEngineError, MemoryLimitExceeded, RequestTooLarge
from airflow_ee.core.plan import Tile, split_tile

__all__ = ["fetch_tiles", "run_bounded"]

Item = TypeVar("Item")
Content = TypeVar("Content")
TOO_HUNGRY = (RequestTooLarge, ComputationTimedOut, MemoryLimitExceeded)
CHECK_SECONDS = 0.25
"""How often a wait looks whether it was told to stop; signals reach only the main thread between two looks."""
log = logging.getLogger(__name__)


def run_bounded(
    items: Iterable[Item],
    function: Callable[[Item], Content],
    *,
    concurrency: int,
    instead: Callable[[Item, BaseException], Iterable[Item]] = lambda _item, error: _raise(error),
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, Content]]:
    """Yield every item with what ``function`` made of it, in the order in which they are done.

    At most ``concurrency`` items are under way or waiting to be taken, so memory does not grow with their number.

    Parameters
    ----------
    instead
        Called with an item that failed and its error; gives items to do in its place, or raises.
    check
        Called a few times a second; what it raises ends the run. What is under way is dropped then, and not waited for.
    """
    waiting = iter(items)
    extra: list[Item] = []
    under_way: dict[Future[Content], Item] = {}
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="earth-engine")
    try:
        while True:
            for item in _next(waiting, extra, concurrency - len(under_way)):
                under_way[pool.submit(function, item)] = item
            if not under_way:
                return
            check()
            for future in wait(under_way, timeout=CHECK_SECONDS, return_when=FIRST_COMPLETED).done:
                item = under_way.pop(future)
                error = future.exception()
                if error is None:
                    yield item, future.result()
                else:
                    extra.extend(instead(item, error))
    finally:
        # After a failure, or a kill, nobody waits for answers that may take minutes.
        pool.shutdown(wait=False, cancel_futures=True)


def fetch_tiles(
    tiles: Iterable[Tile],
    fetch: Callable[[Tile], Content],
    *,
    concurrency: int,
    floor_side: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Tile, Content]]:
    """Yield every tile with its content, in the order in which answers come.

    A tile that the service finds too large, too slow or too hungry is cut in four and asked for again, down to
    ``floor_side`` pixels.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the tile.
    """
    return run_bounded(
        tiles,
        fetch,
        concurrency=concurrency,
        instead=lambda tile, error: _smaller(tile, error, floor_side),
        check=check,
    )


def _next(waiting: Iterator[Item], extra: list[Item], count: int) -> Iterator[Item]:
    for _ in range(count):
        if extra:
            yield extra.pop()
            continue
        try:
            yield next(waiting)
        except StopIteration:
            return


def _raise(error: BaseException) -> Iterable[Item]:
    raise error


def _smaller(tile: Tile, error: BaseException, floor_side: int) -> Iterable[Tile]:
    """Smaller tiles to fetch in place of one that was too hungry; raises when nothing helps."""
    parts = split_tile(tile, floor_side) if isinstance(error, TOO_HUNGRY) else ()
    if parts:
        log.info("%s is too much at once, cut into %d: %s", tile, len(parts), error)
        return parts
    if isinstance(error, EarthEngineError):
        raise type(error)(f"{tile}: {error.message}", error.details, error.retry_after_seconds) from error
    raise error
