"""Fetch many tiles at once, in bounded memory, without ever leaving one out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from airflow_ee.core.errors import ComputationTimedOut, EarthEngineError, MemoryLimitExceeded, RequestTooLarge
from airflow_ee.core.plan import Tile, split_tile

__all__ = ["fetch_tiles"]

Content = TypeVar("Content")
TOO_HUNGRY = (RequestTooLarge, ComputationTimedOut, MemoryLimitExceeded)
log = logging.getLogger(__name__)


def fetch_tiles(
    tiles: Iterable[Tile],
    fetch: Callable[[Tile], Content],
    *,
    concurrency: int,
    floor_side: int,
) -> Iterator[tuple[Tile, Content]]:
    """Yield every tile with its content, in the order in which answers come.

    At most ``concurrency`` tiles are under way or waiting to be taken, so memory does not grow with the image. A tile
    that the service finds too large, too slow or too hungry is cut in four and asked for again, down to ``floor_side``
    pixels.

    Raises
    ------
    EarthEngineError
        The first failure that cannot be cured; the message names the tile. What was under way is dropped.
    """
    waiting = iter(tiles)
    under_way: dict[Future[Content], Tile] = {}
    extra: list[Tile] = []
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="earth-engine-tile")
    try:
        while True:
            while len(under_way) < concurrency and (tile := extra.pop() if extra else next(waiting, None)):
                under_way[pool.submit(fetch, tile)] = tile
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                tile = under_way.pop(future)
                parts = _parts_instead(future, tile, floor_side)
                if parts:
                    extra.extend(parts)
                else:
                    yield tile, future.result()
    finally:
        # After a failure nobody waits for answers that may take minutes.
        pool.shutdown(wait=False, cancel_futures=True)


def _parts_instead(future: Future[Content], tile: Tile, floor_side: int) -> tuple[Tile, ...]:
    """Smaller tiles to fetch in place of one that was too hungry; empty when it came; raises when nothing helps."""
    error = future.exception()
    if error is None:
        return ()
    parts = split_tile(tile, floor_side) if isinstance(error, TOO_HUNGRY) else ()
    if parts:
        log.info("%s is too much at once, cut into %d: %s", tile, len(parts), error)
        return parts
    if isinstance(error, EarthEngineError):
        raise type(error)(f"{tile}: {error.message}", error.details, error.retry_after_seconds) from error
    raise error
