"""A project's configuration: how many exports run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.exports.life import OperationLife


class Projects:
    """The methods of projects. All projects of a server share their workers, and so their configuration."""

    def __init__(self, life: OperationLife) -> None:
        self._life = life
        self._most = life.concurrency

    def methods(self) -> dict[str, Callable[[Call], Answer]]:
        """The methods by name."""
        return {"getConfig": self.get_config, "updateConfig": self.update_config}

    def get_config(self, call: Call) -> Answer:
        """The configuration."""
        return Answer(self._shown(call.path["name"]))

    def update_config(self, call: Call) -> Answer:
        """Let more or fewer exports run at once, up to what the plan allows."""
        mask = call.query.get("updateMask", "")
        if mask not in ("max_concurrent_exports", "maxConcurrentExports"):
            raise field_violation(
                "update_mask", f"Field mask '{mask[:100]}' is not supported: only max_concurrent_exports is."
            )
        wanted = call.body.get("maxConcurrentExports", 0)
        if not 1 <= wanted <= self._most:
            raise invalid(f"max_concurrent_exports must be between 1 and {self._most}, got {wanted}.")
        self._life.concurrency = wanted
        return Answer(self._shown(call.path["projectConfig_name"]))

    def _shown(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "registrationState": "REGISTERED_NOT_COMMERCIALLY",
            "maxConcurrentExports": self._life.concurrency,
            "planMaxConcurrentExports": self._most,
        }
