"""Exports, imports and the operations they start."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call, page
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.exports.life import OperationLife
from airflow_ee.emulator.exports.request import METHODS

PAGE_SIZE = 1000
MAX_WAIT_SECONDS = 30.0

Script = Callable[[str], Mapping[str, Any]]


class Operations:
    """The methods of exports and operations."""

    def __init__(self, life: OperationLife, script: Script) -> None:
        self._life = life
        self._script = script

    def methods(self) -> dict[str, Callable[[Call], Answer]]:
        """The methods by name."""
        return {
            **dict.fromkeys(METHODS, self.start),
            "operations.get": self.get,
            "operations.list": self.list,
            "operations.cancel": self.cancel,
            "operations.delete": self.delete,
            "operations.wait": self.wait,
        }

    def start(self, call: Call) -> Answer:
        """Start an export or import."""
        operation = self._life.submit(call.method, call.project, call.body, self._script(call.method))
        return Answer(operation.as_json(), operation.marker)

    def get(self, call: Call) -> Answer:
        """One operation."""
        operation = self._life.get(call.path["name"])
        return Answer(operation.as_json(), operation.marker)

    def list(self, call: Call) -> Answer:
        """All of a project, newest first."""
        if call.query.get("filter"):
            raise invalid("Filtering operations is not supported.")
        shown, token = page(self._life.of_project(call.project), call, default_size=PAGE_SIZE)
        body: dict[str, Any] = {"operations": [each.as_json() for each in shown]} if shown else {}
        return Answer({**body, "nextPageToken": token} if token else body)

    def cancel(self, call: Call) -> Answer:
        """Ask for an end."""
        self._life.cancel(call.path["name"])
        return Answer({})

    def delete(self, call: Call) -> Answer:
        """Forget."""
        self._life.delete(call.path["name"])
        return Answer({})

    def wait(self, call: Call) -> Answer:
        """Wait a while for the end."""
        text = str(call.body.get("timeout", "0s"))
        if not re.fullmatch(r"\d{1,12}(\.\d{1,9})?s", text):
            kind = "type.googleapis.com/google.protobuf.Duration"
            raise field_violation("timeout", f"Invalid value at 'timeout' ({kind}), {json.dumps(text[:100])}")
        seconds = min(float(text.removesuffix("s")), MAX_WAIT_SECONDS)
        operation = self._life.wait(call.path["name"], seconds)
        return Answer(operation.as_json(), operation.marker)
