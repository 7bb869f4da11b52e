"""``python -m airflow_ee.emulator.compute.worker PARENT``: answers jobs from standard input until it is closed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from airflow_ee.emulator.catalog.recipe import CatalogRecipe
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.compute import channel
from airflow_ee.emulator.compute.jobs import Job, run
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.http.app import guarded
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import EPOCH

WATCH_SECONDS = 0.5


class Worker:
    """A catalogue, read once, and jobs on it."""

    def __init__(self, recipe: CatalogRecipe) -> None:
        self._clock = ManualClock(EPOCH)
        self._catalog = recipe.catalog(self._clock, recipe.store())

    def answer(self, shown: Mapping[str, Any]) -> channel.Message:
        """The result of a job, or the service's refusal of it."""
        job = Job.of_json(shown)
        self._clock.set(job.now)
        session = Session(self._catalog, registry, job.now)
        try:
            result = guarded(lambda _: run(job, session), job.call)
        except EmulatorError as problem:
            details = [dict(detail) for detail in problem.details]
            return channel.Message({"error": [problem.code, problem.message, details]})
        answer = result.answer
        content = {"marker": answer.marker, "content_type": answer.content_type, "lasting": result.lasting}
        content["headers"] = dict(answer.headers)
        return channel.Message(content, answer.body)


def main() -> int:
    """Serve the process that started this one."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the server decides when to end
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that prints can spoil an answer
    first = channel.read(sys.stdin.buffer)
    if first is None:
        return 0
    worker = Worker(CatalogRecipe.of_json(first.content))
    while (message := channel.read(sys.stdin.buffer)) is not None:
        channel.write(output, *worker.answer(message.content))
    return 0


def _end_with(parent: int) -> None:
    """End in the middle of a job when the server was killed: nobody waits for it."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
