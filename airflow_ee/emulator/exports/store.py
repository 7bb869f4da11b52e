"""Operations behind an interface: one JSON file each, so that they survive the process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Protocol

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.exports.operation import Operation


class OperationStore(Protocol):
    """What the life of operations needs to remember them."""

    def put(self, operation: Operation) -> None:
        """Remember an operation, or what has become of it."""

    def get(self, name: str) -> Operation:
        """The operation of that name."""

    def all(self) -> list[Operation]:
        """Every operation, oldest first."""

    def remove(self, name: str) -> None:
        """Forget an operation."""


class FileOperationStore:
    """A folder of JSON files, read once; each change is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._operations: dict[str, Operation] = {}
        found = [Operation.from_record(json.loads(path.read_text("utf-8"))) for path in folder.glob("*.json")]
        for operation in sorted(found, key=lambda each: (each.created, each.name)):
            self._operations[operation.name] = operation

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '~')}.json"

    def put(self, operation: Operation) -> None:
        """Write the file, then show the change."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(operation.name)
        with self._lock:
            draft = path.with_suffix(".writing")
            draft.write_text(json.dumps(operation.to_record()), encoding="utf-8")
            os.replace(draft, path)
            self._operations[operation.name] = operation

    def get(self, name: str) -> Operation:
        """The operation of that name."""
        with self._lock:
            found = self._operations.get(name)
        if found is None:
            raise EmulatorError("NOT_FOUND", f'Operation "{name.rsplit("/", 1)[-1]}" not found.')
        return found

    def all(self) -> list[Operation]:
        """Every operation, oldest first."""
        with self._lock:
            return list(self._operations.values())

    def remove(self, name: str) -> None:
        """Delete the file and forget."""
        self.get(name)
        with self._lock:
            del self._operations[name]
            self._path(name).unlink(missing_ok=True)
