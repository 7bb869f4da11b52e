"""What no Earth Engine has: its health, its state, its faults; and the discovery document, which has no method name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from airflow_ee.emulator.api.discovery import discovery_document
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.http.answers import json_response
from airflow_ee.emulator.http.journal import Journal
from airflow_ee.emulator.http.plan import FaultPlan

VERSIONS = ("", "v1", "v1beta", "v1alpha")

Advance = Callable[[float], str]


class Control:
    """Requests outside of the REST reference."""

    def __init__(
        self, faults: FaultPlan, journal: Journal, *, state: Callable[[], dict[str, Any]], advance: Advance
    ) -> None:
        self._faults = faults
        self._journal = journal
        self._state = state
        self._advance = advance

    def answer(self, http: str, path: str, query: Mapping[str, str], body: Any) -> Response:
        """The answer, or 404."""
        version = path.strip("/").removesuffix("$discovery/rest").strip("/")
        if path.endswith("/$discovery/rest") and version in VERSIONS and http in ("GET", "HEAD"):
            return self._discovery(version or query.get("version", "v1"), query)
        actions: dict[tuple[str, str], Callable[[Any, Mapping[str, str]], Any]] = {
            ("GET", "/healthz"): lambda _body, _query: {"status": "ok"},
            ("GET", "/emulator/state"): lambda _body, _query: self._state(),
            ("DELETE", "/emulator/state"): self._clear_all,
            ("GET", "/emulator/requests"): lambda _body, _query: self._journal.as_json(),
            ("GET", "/emulator/faults"): lambda _body, _query: self._faults.as_json(),
            ("POST", "/emulator/faults"): self._inject,
            ("DELETE", "/emulator/faults"): self._clear,
            ("POST", "/emulator/clock"): self._move_clock,
        }
        action = actions.get(("GET" if http == "HEAD" else http, path))
        if action is None:
            raise EmulatorError("NOT_FOUND", f"The requested URL {path[:1000]} was not found on this server.")
        return json_response(action(body, query))

    def _discovery(self, version: str, query: Mapping[str, str]) -> Response:
        if version not in VERSIONS:
            raise EmulatorError("NOT_FOUND", f"Discovery document not found for API service version: {version[:100]}")
        return json_response(discovery_document(version), pretty=query.get("prettyPrint") != "false")

    def _inject(self, body: Any, _query: Mapping[str, str]) -> Any:
        method = body.get("method") if isinstance(body, dict) else None
        texts = body.get("faults", []) if isinstance(body, dict) else None
        if not isinstance(method, str) or not isinstance(texts, list):
            raise invalid('expected {"method": NAME, "faults": [TEXT, ...]}')
        self._faults.add(method, [str(text) for text in texts])
        return {"pending": self._faults.pending, "standing": self._faults.standing}

    def _clear(self, _body: Any, query: Mapping[str, str]) -> Any:
        self._faults.clear(query.get("method"))
        return {"pending": self._faults.pending, "standing": self._faults.standing}

    def _clear_all(self, _body: Any, _query: Mapping[str, str]) -> Any:
        self._faults.clear()
        self._faults.forget()
        self._journal.clear()
        return self._state()

    def _move_clock(self, body: Any, _query: Mapping[str, str]) -> Any:
        seconds = body.get("advanceSeconds") if isinstance(body, dict) else None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e11:
            raise invalid('expected {"advanceSeconds": NUMBER}')
        return {"now": self._advance(float(seconds))}
