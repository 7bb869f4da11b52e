"""Operations behind an interface: one JSON file each, so that they survive the process, with what is asked of them indexed."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from pathlib import Path
from typing import Protocol

from airflow_ee.emulator.durable import write_whole
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.exports.operation import Operation


class OperationStore(Protocol):
    """What the life of operations needs to remember them. Nothing but ``all`` looks at every operation."""

    def put(self, operation: Operation) -> None:
        """Remember an operation, or what has become of it."""

    def get(self, name: str) -> Operation:
        """The operation of that name."""

    def has(self, name: str) -> bool:
        """Whether there is one of that name."""

    def all(self) -> list[Operation]:
        """Every operation, oldest first."""

    def of_project(self, project: str) -> list[Operation]:
        """Every operation of a project, oldest first."""

    def in_state(self, state: str) -> list[Operation]:
        """The operations that are in a state, longest there first."""

    def count(self, state: str, project: str) -> int:
        """How many operations of a project are in a state."""

    def with_request_id(self, project: str, request_id: str) -> Operation | None:
        """The operation that a request id has started."""

    def spend(self, project: str, request_id: str) -> None:
        """Remember that a request id was used up without starting anything."""

    def is_spent(self, project: str, request_id: str) -> bool:
        """Whether a request id was used up so."""

    def remove(self, name: str) -> None:
        """Forget an operation."""


class FileOperationStore:
    """A folder of JSON files, read once; each change is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._operations: dict[str, Operation] = {}
        self._by_state: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._by_project: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._by_request: dict[tuple[str, str], str] = {}
        self._counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._spent_path = folder / "spent-request-ids.txt"
        self._spent = set(self._spent_path.read_text("utf-8").splitlines()) if self._spent_path.is_file() else set()
        found = [_read(path) for path in folder.glob("*.json")]
        for operation in sorted(found, key=lambda each: (each.created, each.name)):
            self._index(operation)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '~')}.json"

    def _index(self, operation: Operation) -> None:
        name, project = operation.name, operation.project
        before = self._operations.get(name)
        self._operations[name] = operation
        if before is None or before.state != operation.state:
            if before is not None:
                self._leave(before)
            self._by_state[operation.state][name] = None
            self._counts[operation.state, project] += 1
        self._by_project[project][name] = None
        if operation.request_id:
            self._by_request.setdefault((project, operation.request_id), name)

    def _leave(self, operation: Operation) -> None:
        del self._by_state[operation.state][operation.name]
        self._counts[operation.state, operation.project] -= 1

    def put(self, operation: Operation) -> None:
        """Write the file, then show the change."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(operation.name)
        with self._lock:
            write_whole(path, json.dumps(operation.to_record()))
            self._index(operation)

    def get(self, name: str) -> Operation:
        """The operation of that name."""
        with self._lock:
            found = self._operations.get(name)
        if found is None:
            raise EmulatorError("NOT_FOUND", f'Operation "{name.rsplit("/", 1)[-1]}" not found.')
        return found

    def has(self, name: str) -> bool:
        """Whether there is one of that name."""
        with self._lock:
            return name in self._operations

    def all(self) -> list[Operation]:
        """Every operation, oldest first."""
        with self._lock:
            return list(self._operations.values())

    def of_project(self, project: str) -> list[Operation]:
        """Every operation of a project, oldest first."""
        with self._lock:
            return [self._operations[name] for name in self._by_project.get(project, ())]

    def in_state(self, state: str) -> list[Operation]:
        """The operations that are in a state, longest there first."""
        with self._lock:
            return [self._operations[name] for name in self._by_state.get(state, ())]

    def count(self, state: str, project: str) -> int:
        """How many operations of a project are in a state."""
        with self._lock:
            return self._counts.get((state, project), 0)

    def with_request_id(self, project: str, request_id: str) -> Operation | None:
        """The operation that a request id has started."""
        with self._lock:
            name = self._by_request.get((project, request_id))
            return None if name is None else self._operations[name]

    def spend(self, project: str, request_id: str) -> None:
        """Add a line to a file of their own."""
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._spent_path.open("a", encoding="utf-8") as file:
                file.write(f"{project} {request_id}\n")
            self._spent.add(f"{project} {request_id}")

    def is_spent(self, project: str, request_id: str) -> bool:
        """Whether a request id was used up without starting anything."""
        with self._lock:
            return f"{project} {request_id}" in self._spent

    def remove(self, name: str) -> None:
        """Delete the file and forget."""
        with self._lock:
            operation = self.get(name)
            self._leave(operation)
            del self._operations[name]
            del self._by_project[operation.project][name]
            if self._by_request.get((operation.project, operation.request_id)) == name:
                del self._by_request[operation.project, operation.request_id]
            self._path(name).unlink(missing_ok=True)


def _read(path: Path) -> Operation:
    try:
        return Operation.from_record(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise ValueError(f"{path} holds no operation ({problem}): remove it, or take another root") from problem
