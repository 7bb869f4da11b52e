"""What the service tells of: operations, assets, bands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ee.core.grid import PixelGrid

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Asset", "Band", "Operation", "Stage", "check_request_id", "check_workload_tag"]

TERMINAL_STATES = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,60}")
_WORKLOAD_TAG = re.compile(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of an operation's latest attempt."""

    name: str
    complete_work_units: float = 0.0
    total_work_units: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A long-running operation as the service last told of it.

    >>> Operation(name="projects/demo-project/operations/ABC", state="RUNNING").done
    False
    """

    name: str
    """``projects/{project}/operations/{id}``."""
    state: str = "UNKNOWN"
    """PENDING, RUNNING, CANCELLING, SUCCEEDED, CANCELLED, FAILED, or UNKNOWN when the service said none."""
    type: str = ""
    description: str = ""
    priority: int | None = None
    attempt: int = 1
    progress: float = 0.0
    """Fraction of 1."""
    stages: tuple[Stage, ...] = ()
    create_time: str | None = None
    start_time: str | None = None
    update_time: str | None = None
    end_time: str | None = None
    destination_uris: tuple[str, ...] = ()
    eecu_seconds: float | None = None
    """Compute used so far, in Earth Engine compute unit seconds."""
    error: Mapping[str, Any] | None = None
    """``google.rpc.Status`` of a failed or cancelled operation."""

    @property
    def done(self) -> bool:
        """Whether it will never change again."""
        return self.state in TERMINAL_STATES

    @property
    def id(self) -> str:
        """Last part of the name: the task id that Earth Engine's own pages show."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def signature(self) -> tuple[Any, ...]:
        """What changes while an operation moves; equal signatures over hours mean that it is stuck."""
        work = tuple((stage.name, stage.complete_work_units) for stage in self.stages)
        return self.state, self.progress, work, self.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A band of an image asset."""

    id: str
    dtype: np.dtype[Any]
    """Smallest numpy type that holds the band's range."""
    grid: PixelGrid | None = None
    """Native grid; None where the asset tells none or only half of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An asset's metadata."""

    name: str
    """``projects/{project}/assets/{path}``."""
    id: str
    """As users write it, such as ``MODIS/061/MOD13Q1/2020_06_09``."""
    type: str
    """IMAGE, IMAGE_COLLECTION, TABLE, FOLDER, ..."""
    start_time: datetime | None = None
    """Aware, UTC."""
    end_time: datetime | None = None
    """Aware, UTC; exclusive."""
    update_time: str | None = None
    """Verbatim, because it is compared for equality."""
    bands: tuple[Band, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] | None = None
    """Footprint as GeoJSON, as the service tells it."""

    @property
    def index(self) -> str:
        """The last part of the id, Earth Engine's ``system:index`` in a collection."""
        return self.id.rsplit("/", 1)[-1]

    def band(self, band_id: str) -> Band:
        """The band of this name.

        Raises
        ------
        ValueError
            When there is none; the message lists those there are.
        """
        for band in self.bands:
            if band.id == band_id:
                return band
        raise ValueError(
            f"bands: {self.id} has no band {band_id!r}; it has {', '.join(b.id for b in self.bands) or 'none'}"
        )


def check_request_id(request_id: str) -> str:
    """Return ``request_id`` if the service takes it: 1 to 60 letters, digits and ``-``."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise ValueError(
            f"request_id must be 1 to 60 letters, digits or '-', got {request_id!r} ({len(request_id)} characters)"
        )
    return request_id


def check_workload_tag(tag: str) -> str:
    """Return ``tag`` if the service takes it: 1 to 63 of ``a-z 0-9 - _``, ends being letters or digits."""
    if not _WORKLOAD_TAG.fullmatch(tag):
        raise ValueError(
            f"workload_tag must be 1 to 63 of a-z, 0-9, '-', '_' and begin and end with a-z or 0-9, got {tag!r}"
        )
    return tag
