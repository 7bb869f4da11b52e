"""What of a job is done: a line for each tile, written as soon as the tile is stored, beside what it tells of.

A job that was killed reads it and goes on. On a local disk it is one file that grows; object stores have no such files, so lines
are kept for a few seconds there and then put in an object of their own. A line that was cut off by a kill is no line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import TileRecord

__all__ = ["Manifest", "digest_of"]

NAME = "manifest"
FORMAT = 2
"""Raised when parts are stored otherwise than before, so that those of an older version are not taken for ours."""
KEEP_SECONDS = 5.0
log = logging.getLogger(__name__)


def digest_of(value: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a JSON object in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Manifest:
    """Records of the tiles of one request, in a folder.

    Parameters
    ----------
    folder
        Where parts are kept while the job runs.
    request
        JSON object of all that the parts depend on: records of another request are not ours.
    shared
        Whether other processes write records of the same request at the same time: then each has files of its own.
    """

    def __init__(
        self,
        folder: Location,
        request: Mapping[str, Any],
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._request, self._clock = folder, {"format": FORMAT, "request": digest_of(request)}, clock
        self._lock = threading.Lock()
        self._begun = False
        self._kept: list[str] = []
        self._kept_since = clock()
        self._name = f"{NAME}-{uuid.uuid4().hex[:12]}.jsonl" if shared or not folder.is_local else f"{NAME}.jsonl"
        self._segments = 0

    def read(self) -> dict[tuple[int, int], TileRecord] | None:
        """Records of an earlier try, by row and column; None where there is none, or one of another request."""
        contents = {
            name: self._folder.filesystem.cat_file(name).decode(errors="replace")
            for name in self._folder.files()
            if name.rsplit("/", 1)[-1].startswith(NAME)
        }
        if not contents:
            return None
        found: dict[tuple[int, int], TileRecord] = {}
        for content in contents.values():
            lines = list(_lines(content))
            if not lines or lines[0] != self._request:
                return None
            for line in lines[1:]:
                record = TileRecord(**line)
                found[record.row, record.col] = record
        return found

    def add(self, record: TileRecord) -> None:
        """Write a line; safe to call from many threads."""
        line = json.dumps(dataclasses.asdict(record), sort_keys=True, separators=(",", ":"))
        with self._lock:
            self._kept.append(line)
            if self._folder.is_local or self._clock() - self._kept_since >= KEEP_SECONDS:
                self._write()

    def close(self) -> None:
        """Write what is still kept."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._kept:
            return
        lines = "".join(line + "\n" for line in self._kept)
        if self._folder.is_local:
            self._append(lines)
        else:
            first = json.dumps(self._request, sort_keys=True) + "\n"
            segment = self._folder / self._name.replace(".jsonl", f"-{self._segments:06d}.jsonl")
            segment.put((first + lines).encode())
            self._segments += 1
        self._kept.clear()
        self._kept_since = self._clock()

    def _append(self, lines: str) -> None:
        place = self._folder / self._name
        if not self._begun:
            content = place.read_bytes() if place.exists() else b""
            first = "" if content else json.dumps(self._request, sort_keys=True) + "\n"
            # A line that was cut off ends here.
            lines = first + ("\n" if content and not content.endswith(b"\n") else "") + lines
        self._begun = False
        place.append(lines.encode())
        self._begun = True


def _lines(content: str) -> Any:
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # The line that a kill cut off; its tile is fetched again.
            continue
