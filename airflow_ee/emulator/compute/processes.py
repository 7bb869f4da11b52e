"""Processes that compute pixels beside the server, started when there is work for them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from airflow_ee.emulator.api.calls import Answer
from airflow_ee.emulator.catalog.recipe import CatalogRecipe
from airflow_ee.emulator.compute import channel
from airflow_ee.emulator.compute.jobs import Job, Result
from airflow_ee.emulator.errors import EmulatorError, invalid

logger = logging.getLogger(__name__)

_PACKAGE_PARENT = Path(__file__).resolve().parents[3]
STOP_SECONDS = 2


class ComputeProcess:
    """One process, one job at a time."""

    def __init__(self, recipe: CatalogRecipe) -> None:
        paths = os.pathsep.join([str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "airflow_ee.emulator.compute.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._broken = False
        with suppress(BrokenPipeError):  # a process that has ended already is noticed by the first job
            channel.write(self._input, recipe.as_json())

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def run(self, job: Job, timeout_seconds: float) -> Result:
        """The result of a job; raises what the job's evaluation refused, or INTERNAL when the process died."""
        begin = time.monotonic()
        alarm = threading.Timer(timeout_seconds, self._process.kill)
        alarm.start()
        message = self._ask(job)
        alarm.cancel()
        if message is None:
            self._broken = True
            if time.monotonic() - begin >= timeout_seconds:
                raise invalid("Computation timed out.")
            raise EmulatorError("INTERNAL", "An internal error has occurred (a computing process ended).")
        if "error" in message.content:
            code, text, details = message.content["error"]
            raise EmulatorError(code, text, tuple(details))
        content = message.content
        answer = Answer(message.payload, content["marker"], content["content_type"], content["headers"])
        return Result(answer, lasting=message.content["lasting"])

    def _ask(self, job: Job) -> channel.Message | None:
        try:
            channel.write(self._input, job.as_json())
        except BrokenPipeError:
            return None
        return channel.read(self._output)

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return not self._broken and self._process.poll() is None

    def stop(self) -> None:
        """End it: at once, since nobody waits for its answer any more."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._input, self._output):
            with suppress(BrokenPipeError):
                stream.close()


class ProcessPool:
    """At most ``size`` processes; callers wait for a free one."""

    def __init__(self, recipe: CatalogRecipe, size: int, timeout_seconds: float) -> None:
        self._recipe = recipe
        self._timeout_seconds = timeout_seconds
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[ComputeProcess] = []
        self._all: set[ComputeProcess] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that there are."""
        with self._lock:
            return [process.pid for process in self._all]

    def run(self, job: Job) -> Result:
        """Have a job done."""
        with self._slots:
            process = self._take()
            try:
                return process.run(job, self._timeout_seconds)
            finally:
                self._give_back(process)

    def _take(self) -> ComputeProcess:
        with self._lock:
            if self._closed:
                raise EmulatorError("UNAVAILABLE", "The service is currently unavailable.")
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                self._all.discard(process)
                process.stop()
            process = ComputeProcess(self._recipe)
            self._all.add(process)
            logger.info("Computing process %d started", process.pid)
            return process

    def _give_back(self, process: ComputeProcess) -> None:
        with self._lock:
            if not self._closed and process.alive:
                self._idle.append(process)
                return
            self._all.discard(process)
        process.stop()

    def close(self) -> None:
        """End every process, those at work included."""
        with self._lock:
            self._closed = True
            processes = list(self._all)
        for process in processes:
            process.stop()
