"""Requests that start operations, checked before they are sent: all kinds of exports, and imports of images and tables.

Their methods differ in a few fields; what they share is here once. Fields are those of the REST reference (v1), whose names live in
:mod:`airflow_ee.core.wire` and here only.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_ee.core.destination import Destination
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.ingestion import ImageManifest, TableManifest
from airflow_ee.core.resources import check_workload_tag
from airflow_ee.core.wire import grid_to_rest, without_empty
from airflow_ee.core.wire_ingestion import message_to_rest

__all__ = [
    "BatchRequest",
    "ExportClassifierRequest",
    "ExportImageRequest",
    "ExportMapRequest",
    "ExportRequest",
    "ExportTableRequest",
    "ExportVideoRequest",
    "ImportImageRequest",
    "ImportTableRequest",
    "destination_of",
]

Options = Mapping[str, Any]
_DESCRIPTION = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest(ABC):
    """The body of a method that starts an operation."""

    method: ClassVar[str]
    """As in ``projects/{project}/image:export``."""

    description: str
    """At most 100 of letters, digits, ``-`` and ``_``."""

    def __post_init__(self) -> None:
        if not _DESCRIPTION.fullmatch(self.description):
            raise ValueError(
                f"description must be 1 to 100 letters, digits, '-' or '_', got {self.description!r} ({len(self.description)} characters)"
            )

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The JSON of the request."""
        return without_empty({**self.content(), **self._labels(), "requestId": request_id})

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What is made, and where it goes: all of the body that two equal requests have in common."""

    @property
    @abstractmethod
    def destination(self) -> Destination:
        """Where the operation was told to write."""

    def _labels(self) -> dict[str, Any]:
        return {"description": self.description}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest(BatchRequest):
    """An export of what an expression gives. Exactly one of its options for destinations is given, in the REST reference's own form."""

    expression: Expression
    priority: int | None = None
    """0 to 9999; None: the service's own, 100."""
    workload_tag: str | None = None

    def __post_init__(self) -> None:
        BatchRequest.__post_init__(self)
        given = self._options()
        if len(given) != 1:
            names = " or ".join(_snake(name) for name in self._destinations())
            raise ValueError(f"an export needs exactly one destination: {names}")
        if self.priority is not None and not 0 <= self.priority <= 9999:
            raise ValueError(f"priority must be in 0..9999, got {self.priority}")
        if self.workload_tag is not None:
            check_workload_tag(self.workload_tag)

    def content(self) -> dict[str, Any]:
        """Expression, destination, and what only this kind has."""
        return without_empty({"expression": self.expression.graph, **self._options(), **self._details()})

    @property
    def destination(self) -> Destination:
        """Where the export was told to write."""
        (options,) = self._options().values()
        return destination_of(options)

    def _options(self) -> dict[str, Options]:
        """The destination's options, by their name on the wire."""
        return {name: options for name, options in self._destinations().items() if options is not None}

    @abstractmethod
    def _destinations(self) -> dict[str, Options | None]: ...

    def _details(self) -> dict[str, Any]:
        return {}

    def _labels(self) -> dict[str, Any]:
        return {"description": self.description, "priority": self.priority, "workloadTag": self.workload_tag}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportImageRequest(ExportRequest):
    """The body of ``image:export``."""

    method: ClassVar[str] = "image:export"

    grid: PixelGrid | None = None
    max_pixels: int | None = None
    """None: the service's own limit, 100 million."""
    file_export_options: Options | None = None
    asset_export_options: Options | None = None

    def __post_init__(self) -> None:
        ExportRequest.__post_init__(self)
        _check_counts(max_pixels=self.max_pixels)

    def _destinations(self) -> dict[str, Options | None]:
        return {"fileExportOptions": self.file_export_options, "assetExportOptions": self.asset_export_options}

    def _details(self) -> dict[str, Any]:
        return {
            "grid": grid_to_rest(self.grid) if self.grid else None,
            # Numbers of 64 bits are text in the JSON of protocol buffers.
            "maxPixels": None if self.max_pixels is None else str(self.max_pixels),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTableRequest(ExportRequest):
    """The body of ``table:export``."""

    method: ClassVar[str] = "table:export"

    selectors: tuple[str, ...] = ()
    """Columns, in order; empty: all that the first feature has."""
    max_vertices: int | None = None
    """Geometries with more are cut into pieces; None: never."""
    file_export_options: Options | None = None
    asset_export_options: Options | None = None
    bigquery_export_options: Options | None = None
    feature_view_export_options: Options | None = None

    def __post_init__(self) -> None:
        ExportRequest.__post_init__(self)
        _check_counts(max_vertices=self.max_vertices)
        if len(set(self.selectors)) < len(self.selectors) or not all(self.selectors):
            raise ValueError(f"selectors must be names of columns, each once, got {list(self.selectors)}")

    def _destinations(self) -> dict[str, Options | None]:
        return {
            "fileExportOptions": self.file_export_options,
            "assetExportOptions": self.asset_export_options,
            "bigqueryExportOptions": self.bigquery_export_options,
            "featureViewExportOptions": self.feature_view_export_options,
        }

    def _details(self) -> dict[str, Any]:
        return {"selectors": list(self.selectors) or None, "maxVertices": self.max_vertices}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportVideoRequest(ExportRequest):
    """The body of ``video:export``; each image of the collection is a frame of bands that are 8 bits deep."""

    method: ClassVar[str] = "video:export"

    file_export_options: Options | None = None
    frames_per_second: float | None = None
    max_frames: int | None = None
    max_pixels_per_frame: int | None = None

    def __post_init__(self) -> None:
        ExportRequest.__post_init__(self)
        if self.frames_per_second is not None and not self.frames_per_second > 0:
            raise ValueError(f"frames_per_second must be above 0, got {self.frames_per_second}")
        _check_counts(max_frames=self.max_frames, max_pixels_per_frame=self.max_pixels_per_frame)

    def _destinations(self) -> dict[str, Options | None]:
        return {"fileExportOptions": self.file_export_options}

    def _details(self) -> dict[str, Any]:
        pixels = self.max_pixels_per_frame
        options = {
            "framesPerSecond": self.frames_per_second,
            "maxFrames": self.max_frames,
            "maxPixelsPerFrame": None if pixels is None else str(pixels),
        }
        return {"videoOptions": without_empty(options) or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportMapRequest(ExportRequest):
    """The body of ``map:export``: an image as tiles of a web map."""

    method: ClassVar[str] = "map:export"

    tile_export_options: Options | None = None
    tile_options: Options

    def _destinations(self) -> dict[str, Options | None]:
        return {"tileExportOptions": self.tile_export_options}

    def _details(self) -> dict[str, Any]:
        return {"tileOptions": dict(self.tile_options)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportClassifierRequest(ExportRequest):
    """The body of ``classifier:export``."""

    method: ClassVar[str] = "classifier:export"

    asset_export_options: Options | None = None

    def _destinations(self) -> dict[str, Options | None]:
        return {"assetExportOptions": self.asset_export_options}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportImageRequest(BatchRequest):
    """The body of ``image:import``."""

    method: ClassVar[str] = "image:import"

    manifest: ImageManifest
    overwrite: bool = False

    def content(self) -> dict[str, Any]:
        """The manifest, and whether an asset may be replaced."""
        return without_empty({"imageManifest": message_to_rest(self.manifest), "overwrite": self.overwrite or None})

    @property
    def destination(self) -> Destination:
        """The asset."""
        return Destination(kind="asset", prefix=self.manifest.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTableRequest(BatchRequest):
    """The body of ``table:import``."""

    method: ClassVar[str] = "table:import"

    manifest: TableManifest
    overwrite: bool = False

    def content(self) -> dict[str, Any]:
        """The manifest, and whether an asset may be replaced."""
        return without_empty({"tableManifest": message_to_rest(self.manifest), "overwrite": self.overwrite or None})

    @property
    def destination(self) -> Destination:
        """The asset."""
        return Destination(kind="asset", prefix=self.manifest.name)


def destination_of(options: Options) -> Destination:
    """The destination that an export's options name.

    >>> destination_of({"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "p/x"}}).uri
    'gs://b/p/x'
    >>> destination_of({"bigqueryDestination": {"table": "my-project.fields.ndvi"}}).uri
    'bigquery://my-project.fields.ndvi'

    Raises
    ------
    ValueError
        When they name none.
    """
    match options:
        case {"cloudStorageDestination": {"bucket": str(bucket), "filenamePrefix": str(prefix)}}:
            return Destination(kind="gs", container=bucket, prefix=prefix)
        case {"driveDestination": {"filenamePrefix": str(prefix), **rest}}:
            return Destination(kind="drive", container=str(rest.get("folder", "")), prefix=prefix)
        case {"earthEngineDestination": {"name": str(name)}} | {"featureViewDestination": {"name": str(name)}}:
            return Destination(kind="asset", prefix=name)
        case {"bigqueryDestination": {"table": str(table)}}:
            return Destination(kind="bigquery", prefix=table)
    raise ValueError(
        "export options need a destination: cloudStorageDestination with bucket and filenamePrefix, driveDestination with "
        "filenamePrefix, earthEngineDestination or featureViewDestination with name, or bigqueryDestination with table, got "
        f"{', '.join(sorted(options)) or 'nothing'}"
    )


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)
