"""Requests kept under a name: clients create a thumbnail, map or table, and fetch it later by what they were told.

Whoever knows a name may fetch, so names cannot be guessed: the digest of a request, and a seal that only this process can make.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.errors import EmulatorError, field_violation
from airflow_ee.emulator.limits import check_workload_tag

KEPT_BYTES = 256 * 2**20
"""Beyond it the oldest requests are forgotten, as the service forgets after some hours."""

KINDS = ("thumbnails", "filmstripThumbnails", "maps", "tables")

Handler = Callable[[Call], Answer]


class Renderings:
    """The requests of a server. Safe to use from any thread."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._most = kept_bytes
        self._lock = threading.Lock()

    def create(self, kind: str, check: Handler) -> Handler:
        """The method that makes a name, after a look at the request: one that cannot work is refused at once."""

        def method(call: Call) -> Answer:
            check_workload_tag(call.query.get("workloadTag", ""))
            if not call.body.get("expression"):
                raise field_violation("expression", "Expression must be specified.")
            marker = check(call).marker
            body = {name: value for name, value in call.body.items() if name != "name"}
            return Answer({"name": self._keep(f"projects/{call.project}/{kind}", body), **body}, marker)

        return method

    def fetch(self, handler: Handler) -> Handler:
        """The method that finds the request behind a name, and answers it."""
        return lambda call: handler(self.filled(call))

    def filled(self, call: Call) -> Call:
        """A call with the body that was kept under the name in its path."""
        name = call.path.get("name") or call.path.get("parent", "")
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None:
                self._kept.move_to_end(name)
        if kept is None:
            kind = name.split("/")[2].removesuffix("s")
            raise EmulatorError("NOT_FOUND", f"{kind[0].upper()}{kind[1:]} '{name}' not found.")
        return replace(call, body=json.loads(kept))

    def _keep(self, place: str, body: Mapping[str, Any]) -> str:
        content = json.dumps(body, sort_keys=True).encode()
        name = f"{place}/{hashlib.sha256(content).hexdigest()[:32]}-{self._seal(place, content)}"
        with self._lock:
            if name not in self._kept:
                self._kept[name] = content
                self._size += len(content)
            self._kept.move_to_end(name)
            while self._size > self._most and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest)
        return name

    def _seal(self, place: str, content: bytes) -> str:
        return hmac.new(self._secret, place.encode() + b"\0" + content, hashlib.sha256).hexdigest()[:32]
