"""An export request, checked: what to compute, in which form, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import field_violation, unimplemented
from airflow_ee.emulator.exports.destinations import Place, asset_place, file_place
from airflow_ee.emulator.exports.formats import GeoTiffFormat, ImageFormat, image_format
from airflow_ee.emulator.exports.tiles import TileTask, tile_task
from airflow_ee.emulator.limits import (
    MAX_EXPORT_PIXELS,
    check_description,
    check_priority,
    check_request_id,
    check_workload_tag,
)

DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class ImageTask:
    """Pixels on a grid, into files or an asset."""

    place: Place
    format: ImageFormat
    grid: Mapping[str, Any] | None
    max_pixels: int


@dataclass(frozen=True, slots=True)
class TableTask:
    """Features, into a file or an asset."""

    place: Place
    file_format: str
    selectors: tuple[str, ...]
    max_vertices: int
    """0 for no limit."""


Task = ImageTask | TableTask | TileTask


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One call of an export method."""

    expression: Mapping[str, Any]
    task: Task
    description: str
    request_id: str
    priority: int

    @classmethod
    def parse(cls, method: str, body: Mapping[str, Any]) -> ExportRequest:
        """A request from a body that fits its message."""
        if "expression" not in body:
            raise field_violation("expression", "Expression must be specified.")
        priority = int(body.get("priority", DEFAULT_PRIORITY))
        description, request_id = body.get("description", ""), body.get("requestId", "")
        check_priority(priority)
        check_description(description)
        check_request_id(request_id)
        check_workload_tag(body.get("workloadTag", ""))
        return cls(body["expression"], _TASKS[method](body, description), description, request_id, priority)


def _image_task(body: Mapping[str, Any], description: str) -> ImageTask:
    limit = int(body.get("maxPixels", 0)) or MAX_EXPORT_PIXELS
    if "fileExportOptions" in body:
        options = body["fileExportOptions"]
        format_ = image_format(options)
        return ImageTask(file_place(options, description), format_, body.get("grid"), limit)
    if "assetExportOptions" in body:
        return ImageTask(asset_place(body["assetExportOptions"]), GeoTiffFormat(), body.get("grid"), limit)
    raise field_violation("export_options", "One of file_export_options or asset_export_options must be specified.")


def _table_task(body: Mapping[str, Any], description: str) -> TableTask:
    if "featureViewExportOptions" in body:
        raise unimplemented("Export of a table to a FeatureView (featureViewExportOptions)")
    if "bigqueryExportOptions" in body:
        raise unimplemented("Export of a table to BigQuery (bigqueryExportOptions)")
    selectors, vertices = tuple(body.get("selectors", ())), int(body.get("maxVertices", 0))
    if vertices < 0:
        raise field_violation("max_vertices", f"Maximum number of vertices must not be negative, got {vertices}.")
    if float(body.get("maxErrorMeters", 1.0)) < 0:
        raise field_violation("max_error_meters", "Maximum error must not be negative.")
    if "fileExportOptions" in body:
        options = body["fileExportOptions"]
        kind = options.get("fileFormat", "CSV")
        if kind == "TABLE_FILE_FORMAT_UNSPECIFIED":
            kind = "CSV"
        return TableTask(file_place(options, description), kind, selectors, vertices)
    if "assetExportOptions" in body:
        return TableTask(asset_place(body["assetExportOptions"]), "", selectors, vertices)
    raise field_violation("export_options", "One of file_export_options or asset_export_options must be specified.")


_TASKS: dict[str, Callable[[Mapping[str, Any], str], Task]] = {
    "image:export": _image_task,
    "table:export": _table_task,
    "map:export": tile_task,
}

METHODS = tuple(_TASKS)
