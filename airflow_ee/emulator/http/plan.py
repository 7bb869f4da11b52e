"""Which call meets which fault: by script, by standing rules, or by chance; and what has happened so far."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from airflow_ee.emulator.api.calls import SizeRule
from airflow_ee.emulator.api.reference import methods
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.http.faults import OPERATION_ACTIONS, Fault, parse_fault

EVERY_METHOD = "*"
REMEMBERED = 10_000

RANDOM_FAULTS = (
    "429",
    "429 quota",
    "500",
    "502 html",
    "503",
    "504",
    "reset",
    "lose-response",
    "truncate",
    "corrupt",
    "content-type=text/html",
)
"""What goes wrong by chance: what a good client gets over, and without waiting for its own timeout."""


@dataclass(frozen=True, slots=True)
class Chance:
    """A share of calls that go wrong, their kinds drawn evenly; the same seed draws the same."""

    rate: float = 0.0
    seed: int | None = None
    faults: Sequence[str] = RANDOM_FAULTS

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"a share of faults must be between 0 and 1, got {self.rate}")
        for text in self.faults:
            if parse_fault(text).action in (*OPERATION_ACTIONS, "size"):
                raise ValueError(f"'{text}' cannot happen by chance")


class FaultPlan:
    """The faults to come, by method. Safe to use from any thread.

    A call meets the next fault of its method's script; without one the method's standing rule; without one, perhaps, chance.
    """

    def __init__(self, chance: Chance | None = None) -> None:
        self._chance = chance or Chance()
        self._random = Random(self._chance.seed)
        self._script: dict[str, deque[Fault]] = {}
        self._standing: dict[str, list[Fault]] = {}
        self._happened: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def add(self, method: str, texts: Iterable[str]) -> None:
        """Aim faults at the next calls of a method, or of ``*``, every method."""
        faults = [parse_fault(text) for text in texts]
        if method != EVERY_METHOD and method not in {each.name for each in methods()}:
            raise invalid(f"unknown method '{method}': a fault aimed at it would never happen")
        with self._lock:
            for fault in faults:
                if fault.times is None:
                    self._standing.setdefault(method, []).append(fault)
                else:
                    self._script.setdefault(method, deque()).extend([fault] * fault.times)

    def clear(self, method: str | None = None) -> None:
        """Forget what was to come, of one method or of all; chance goes on."""
        with self._lock:
            for faults in (self._script, self._standing):
                if method is None:
                    faults.clear()
                else:
                    faults.pop(method, None)

    def forget(self) -> None:
        """Forget what has happened."""
        with self._lock:
            self._happened.clear()

    def take(self, method: str, *, operations: bool = False) -> Fault | None:
        """Consume the next fault of a method: of calls, or of the operations that they start."""
        with self._lock:
            fault = self._next(method, operations)
            if fault is not None:
                self._happened.append((method, fault.text))
            return fault

    def _next(self, method: str, operations: bool) -> Fault | None:
        for name in (method, EVERY_METHOD):
            waiting = self._script.get(name)
            if waiting and (waiting[0].action in OPERATION_ACTIONS) is operations:
                return waiting.popleft()
        for name in (method, EVERY_METHOD):
            for fault in self._standing.get(name, ()):
                if fault.size is None and (fault.action in OPERATION_ACTIONS) is operations:
                    return fault
        if operations or not self._chance.rate or self._random.random() >= self._chance.rate:
            return None
        return parse_fault(self._random.choice(self._chance.faults))

    def size_rules(self, method: str) -> tuple[SizeRule, ...]:
        """The standing rules that look at the size of a request."""
        with self._lock:
            found = [*self._standing.get(method, ()), *self._standing.get(EVERY_METHOD, ())]
            return tuple(fault.size for fault in found if fault.size is not None)

    def note_size(self, method: str, message: str) -> None:
        """Remember that a size rule has refused a call."""
        with self._lock:
            found = [*self._standing.get(method, ()), *self._standing.get(EVERY_METHOD, ())]
            texts = [fault.text for fault in found if fault.size is not None and fault.size.message == message]
            self._happened.append((method, texts[0] if texts else message))

    @property
    def pending(self) -> dict[str, list[str]]:
        """What the script has not come to yet, by method."""
        with self._lock:
            return {method: [fault.text for fault in faults] for method, faults in self._script.items() if faults}

    @property
    def standing(self) -> dict[str, list[str]]:
        """The rules that hold until they are cleared, by method."""
        with self._lock:
            return {method: [fault.text for fault in faults] for method, faults in self._standing.items() if faults}

    @property
    def happened(self) -> list[tuple[str, str]]:
        """Method and text of the faults so far, the latest of them at least."""
        with self._lock:
            return list(self._happened)

    def as_json(self) -> dict[str, Any]:
        """All of it, for ``GET /emulator/faults``."""
        happened = [{"method": method, "fault": text} for method, text in self.happened]
        return {"pending": self.pending, "standing": self.standing, "happened": happened}
