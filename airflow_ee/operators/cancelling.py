"""Cancel many operations in the time that there is."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_ee.core.crew import Crew
from airflow_ee.core.errors import EarthEngineError

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient

__all__ = ["CANCELS_AT_ONCE", "cancel_all"]

CANCELS_AT_ONCE = 8
log = logging.getLogger(__name__)


def cancel_all(client: EarthEngineClient, names: Sequence[str], *, seconds: float) -> None:
    """
    Ask for operations to be cancelled, in the order given; what cannot be, or not in time, is told in the log.

    :param client: Asks, several at once.
    :param names: Of the operations.
    :param seconds: How long that may take.
    """
    end = time.monotonic() + seconds

    def cancel(name: str) -> tuple[()]:
        try:
            client.cancel_operation(name)
        except EarthEngineError as error:
            # It has ended meanwhile, or the next one may still be cancelled.
            log.warning("%s could not be cancelled: %s", name, error)
        return ()

    def check() -> None:
        if time.monotonic() > end:
            raise TimeoutError

    try:
        Crew(names, cancel, concurrency=CANCELS_AT_ONCE).run(check)
    except TimeoutError:
        log.warning("No time is left to cancel all of %d operations", len(names))
