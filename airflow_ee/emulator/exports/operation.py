"""An operation as a value: its state is plain data, so that it can be kept in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, Self

from airflow_ee.emulator.exports.unmade import not_made, statement
from airflow_ee.emulator.values.dates import parse_time, timestamp

State = Literal["PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"]
FINISHED = ("SUCCEEDED", "FAILED", "CANCELLED")
_METADATA = "type.googleapis.com/google.earthengine.v1.OperationMetadata"
_EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}
COMPUTING = 4
"""Work units that the computation counts as; writing counts one."""

_STAGES = {
    "Create Local Files": "Computation and writing of temporary files.",
    "Write Files": "Writing files to the export destination.",
}
_READING = {
    "Create Local Files": "Reading of source files and writing of temporary files.",
    "Write Files": "Putting the asset in its place.",
}
TYPES = {
    "image:export": "EXPORT_IMAGE",
    "table:export": "EXPORT_FEATURES",
    "map:export": "EXPORT_TILES",
    "video:export": "EXPORT_VIDEO",
    "videoMap:export": "EXPORT_VIDEO_MAP",
    "classifier:export": "EXPORT_CLASSIFIER",
    "image:import": "INGEST_IMAGE",
    "table:import": "INGEST_TABLE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One long-running operation at one moment."""

    name: str
    body: Mapping[str, Any]
    """The request that started it."""
    marker: str
    """Which imagery it shows."""
    created: str
    updated: str
    state: State = "PENDING"
    started: str | None = None
    ended: str | None = None
    cancel_asked: str | None = None
    attempt: int = 1
    progress: float = 0.0
    eecu_seconds: float = 0.0
    uris: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    method: str = "image:export"
    script: Mapping[str, Any] = field(default_factory=dict)
    """What a fault has in store for it."""

    @property
    def done(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINISHED

    @property
    def project(self) -> str:
        """The project's id."""
        return self.name.split("/")[1]

    @property
    def request_id(self) -> str:
        """The id that the client gave, or nothing."""
        return str(self.body.get("requestId", ""))

    @property
    def priority(self) -> int:
        """Higher goes first."""
        return int(self.body.get("priority", 100))

    def changed(self, now: datetime, **changes: Any) -> Self:
        """The operation a moment later."""
        return replace(self, updated=timestamp(now), **changes)

    def to_record(self) -> dict[str, Any]:
        """Plain data for a file."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The operation that a file holds."""
        return cls(**{**record, "uris": tuple(record["uris"])})

    def as_json(self) -> dict[str, Any]:
        """A REST Operation; defaults are left out, as proto3 does."""
        shown: dict[str, Any] = {"name": self.name, "metadata": self._metadata()}
        if self.done:
            shown["done"] = True
        if self.error is not None:
            shown["error"] = dict(self.error)
        elif self.done:
            shown["response"] = _EMPTY
        return shown

    def _metadata(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"@type": _METADATA, "state": self.state, "type": TYPES[self.method]}
        optional = {
            "description": self.body.get("description"),
            "priority": self.priority,
            "createTime": self.created,
            "updateTime": self.updated,
            "startTime": self.started,
            "endTime": self.ended,
            "attempt": self.attempt if self.started else None,
            "progress": round(self.progress, 4),
            "stages": self._stages() if self.started else None,
            "destinationUris": list(self.uris) if self.state == "SUCCEEDED" else None,
            "batchEecuUsageSeconds": round(self.eecu_seconds, 6),
        }
        return shown | {name: value for name, value in optional.items() if value}

    def _stages(self) -> list[dict[str, Any]]:
        whole = self.state == "SUCCEEDED"
        done = {"Create Local Files": COMPUTING if whole else int(self.progress * COMPUTING), "Write Files": int(whole)}
        totals = {"Create Local Files": COMPUTING, "Write Files": 1}
        missing = not_made(self.method, self.body)
        return [
            {
                "displayName": name,
                "totalWorkUnits": totals[name],
                "description": statement(missing) if missing else text,
            }
            | ({"completeWorkUnits": done[name]} if done[name] else {})
            for name, text in (_READING if self.method.endswith(":import") else _STAGES).items()
        ]

    def seconds_since(self, moment: str | None, now: datetime) -> float:
        """Time passed since one of its timestamps."""
        return (now - _moment(moment)).total_seconds() if moment else 0.0


# A queue of thousands is looked through whenever a place in it becomes free.
_moment = lru_cache(maxsize=8192)(parse_time)
