"""A request for an operation, checked: what to compute or to read, in which form, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.exports.bigquery import bigquery_place
from airflow_ee.emulator.exports.destinations import AssetPlace, FilePlace, Place, asset_place, file_place
from airflow_ee.emulator.exports.formats import GeoTiffFormat, ImageFormat, image_format
from airflow_ee.emulator.exports.tiles import TileTask, tile_task
from airflow_ee.emulator.exports.unmade import (
    UnmadeTask,
    classifier_task,
    feature_view_task,
    video_map_task,
    video_task,
)
from airflow_ee.emulator.imports.image_manifest import ImageImport
from airflow_ee.emulator.imports.table_manifest import TableImport
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

    place: FilePlace | AssetPlace
    format: ImageFormat
    grid: Mapping[str, Any] | None
    max_pixels: int


@dataclass(frozen=True, slots=True)
class TableTask:
    """Features, into a file, an asset or a table of BigQuery."""

    place: Place
    file_format: str
    selectors: tuple[str, ...]
    max_vertices: int
    """0 for no limit."""


ImportTask = ImageImport | TableImport
Task = ImageTask | TableTask | TileTask | UnmadeTask | ImportTask


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One call of a method that starts an export or an import."""

    method: str
    body: Mapping[str, Any]
    task: Task
    description: str
    request_id: str
    priority: int

    @classmethod
    def parse(cls, method: str, body: Mapping[str, Any]) -> ExportRequest:
        """A request from a body that fits its message."""
        if "expression" not in body and method not in IMPORTS:
            raise field_violation("expression", "Expression must be specified.")
        priority = int(body.get("priority", DEFAULT_PRIORITY))
        description, request_id = body.get("description", ""), body.get("requestId", "")
        check_priority(priority)
        check_description(description)
        check_request_id(request_id)
        check_workload_tag(body.get("workloadTag", ""))
        return cls(method, body, _TASKS[method](body, description), description, request_id, priority)

    @property
    def expression(self) -> Mapping[str, Any]:
        """What to compute."""
        expression: Mapping[str, Any] = self.body["expression"]
        return expression


def _image_task(body: Mapping[str, Any], description: str) -> ImageTask:
    limit = int(body.get("maxPixels", 0)) or MAX_EXPORT_PIXELS
    if "fileExportOptions" in body:
        options = body["fileExportOptions"]
        format_ = image_format(options)
        return ImageTask(file_place(options, description), format_, body.get("grid"), limit)
    if "assetExportOptions" in body:
        return ImageTask(asset_place(body["assetExportOptions"]), GeoTiffFormat(), body.get("grid"), limit)
    raise field_violation("export_options", "One of file_export_options or asset_export_options must be specified.")


def _table_task(body: Mapping[str, Any], description: str) -> TableTask | UnmadeTask:
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
    if "bigqueryExportOptions" in body:
        return TableTask(bigquery_place(body["bigqueryExportOptions"]), "", selectors, vertices)
    if "featureViewExportOptions" in body:
        return feature_view_task(body["featureViewExportOptions"])
    raise field_violation("export_options", f"One of {_TABLE_OPTIONS} must be specified.")


_TABLE_OPTIONS = "file_export_options, asset_export_options, feature_view_export_options or bigquery_export_options"


def _image_import(body: Mapping[str, Any], _description: str) -> ImageImport:
    if "imageManifest" not in body:
        raise field_violation("image_manifest", "Image manifest must be specified.")
    if body.get("mode") == "VIRTUAL":
        raise invalid("image:import: mode VIRTUAL is not emulated; use image:importExternal")
    return ImageImport.parse(body["imageManifest"], overwrite=bool(body.get("overwrite", False)))


def _table_import(body: Mapping[str, Any], _description: str) -> TableImport:
    if "tableManifest" not in body:
        raise field_violation("table_manifest", "Table manifest must be specified.")
    return TableImport.parse(body["tableManifest"], overwrite=bool(body.get("overwrite", False)))


IMPORTS: dict[str, Callable[[Mapping[str, Any], str], Task]] = {
    "image:import": _image_import,
    "table:import": _table_import,
}
_TASKS: dict[str, Callable[[Mapping[str, Any], str], Task]] = {
    "image:export": _image_task,
    "table:export": _table_task,
    "map:export": tile_task,
    "video:export": video_task,
    "videoMap:export": video_map_task,
    "classifier:export": classifier_task,
    **IMPORTS,
}

METHODS = tuple(_TASKS)
