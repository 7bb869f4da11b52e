"""Decides where a request for pixels is answered: from memory, by a process of its own, or on the calling thread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator import deadline
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.catalog.recipe import CatalogRecipe
from airflow_ee.emulator.compute.cache import AnswerCache
from airflow_ee.emulator.compute.jobs import METHODS, Job, run
from airflow_ee.emulator.compute.processes import ProcessPool
from airflow_ee.emulator.session import Session

WORTH_A_PROCESS = 2**18
"""Pixels of a request from which on another process is worth its start and the way there and back."""

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How pixels are computed."""

    processes: int = 2
    """Processes beside the server; 0 computes everything in its threads."""
    cache_bytes: int = CACHE_BYTES
    """Answers that are kept in case the same request comes again; 0 keeps none."""
    timeout_seconds: float = deadline.INTERACTIVE_SECONDS
    """What one request may compute; then it is refused. Exports have no such limit."""
    fixed_payload: bool = False
    """Answer every request of one shape with the bytes of the first: for measuring clients, not for looking at pixels."""

    def __post_init__(self) -> None:
        if self.processes < 0 or self.cache_bytes < 0 or not self.timeout_seconds > 0:
            raise ValueError(f"processes and cache_bytes must be at least 0, timeout_seconds more than 0, got {self}")


class PixelService:
    """Answers the methods whose work is pixels."""

    def __init__(self, options: ComputeOptions, recipe: CatalogRecipe, new_session: Callable[[], Session]) -> None:
        self._options = options
        self._new_session = new_session
        self._cache = AnswerCache(options.cache_bytes)
        self._fixed: dict[str, Answer] = {}
        self._pool = ProcessPool(recipe, options.processes, options.timeout_seconds) if options.processes else None

    @property
    def methods(self) -> dict[str, Callable[[Call], Answer]]:
        """Handlers by the method's name."""
        return dict.fromkeys(METHODS, self.answer)

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that compute at present."""
        return self._pool.pids if self._pool is not None else []

    def answer(self, call: Call) -> Answer:
        """The answer to a call."""
        if self._options.fixed_payload:
            return self._fixed_answer(call)
        session = self._new_session()
        job = Job(call, session.now)
        if call.size_rules:  # scripted refusals are counted here, and are no part of what the cache knows
            return run(job, session).answer
        key = _key(job)
        known = self._cache.get(key)
        if known is not None:
            return known
        result = self._pool.run(job) if self._is_large(job) and self._pool is not None else run(job, session)
        if result.lasting:
            self._cache.put(key, result.answer)
        return result.answer

    def _is_large(self, job: Job) -> bool:
        return job.values >= WORTH_A_PROCESS

    def _fixed_answer(self, call: Call) -> Answer:
        key = _shape_key(call)
        if key not in self._fixed:
            session = self._new_session()
            self._fixed[key] = run(Job(call, session.now), session).answer
        return self._fixed[key]

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()


def _key(job: Job) -> str:
    """All that an answer depends on. Simulated images appear on whole hours, so the clock's minutes do not matter."""
    hour = job.now.replace(minute=0, second=0, microsecond=0).isoformat()
    return _digest([job.call.method, job.call.path, job.call.body, hour])


def _shape_key(call: Call) -> str:
    """A request without its place."""
    grid = {name: value for name, value in call.body.get("grid", {}).items() if name != "affineTransform"}
    return _digest([call.method, call.path, {**call.body, "grid": grid}])


def _digest(content: list[Any] | Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=dict)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
