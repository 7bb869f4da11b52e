"""An export request, checked: what to compute, on which grid, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_ee.emulator.api.grids import base_band, requested_grid
from airflow_ee.emulator.errors import field_violation, invalid, unimplemented
from airflow_ee.emulator.limits import (
    MAX_EXPORT_PIXELS,
    check_description,
    check_priority,
    check_request_id,
    check_workload_tag,
)
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.values.image import Image

DEFAULT_PRIORITY = 100
DEFAULT_TILE_SIZE = 256
_POLICIES = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")


@dataclass(frozen=True, slots=True)
class FileDestination:
    """A folder of GeoTIFFs, in Cloud Storage or in Drive."""

    place: str
    """``gs/<bucket>`` or ``drive/<folder>``."""
    prefix: str
    uri: str
    cloud_optimized: bool = False
    no_data: float | None = None
    tile_size: int = DEFAULT_TILE_SIZE
    tile_width: int | None = None
    tile_height: int | None = None
    skip_empty: bool = False


@dataclass(frozen=True, slots=True)
class AssetDestination:
    """An asset."""

    name: str
    overwrite: bool
    policy: str = "MEAN"
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One image:export call."""

    expression: Mapping[str, Any]
    destination: FileDestination | AssetDestination
    grid: Mapping[str, Any] | None
    description: str
    max_pixels: int
    request_id: str
    priority: int

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> ExportRequest:
        """A request from a body that fits its message."""
        if "expression" not in body:
            raise field_violation("expression", "Expression must be specified.")
        priority = int(body.get("priority", DEFAULT_PRIORITY))
        description, request_id = body.get("description", ""), body.get("requestId", "")
        check_priority(priority)
        check_description(description)
        check_request_id(request_id)
        check_workload_tag(body.get("workloadTag", ""))
        return cls(
            expression=body["expression"],
            destination=_destination(body, description),
            grid=body.get("grid"),
            description=description,
            max_pixels=int(body.get("maxPixels", 0)) or MAX_EXPORT_PIXELS,
            request_id=request_id,
            priority=priority,
        )


def _destination(body: Mapping[str, Any], description: str) -> FileDestination | AssetDestination:
    if "fileExportOptions" in body:
        return _file(body["fileExportOptions"], description)
    if "assetExportOptions" in body:
        return _asset(body["assetExportOptions"])
    raise field_violation("export_options", "One of file_export_options or asset_export_options must be specified.")


def _file(options: Mapping[str, Any], description: str) -> FileDestination:
    kind = options.get("fileFormat", "GEO_TIFF")
    if kind == "TF_RECORD_IMAGE" or "tfRecordOptions" in options:
        raise unimplemented("Export of TF_RECORD_IMAGE")
    if kind not in ("GEO_TIFF", "IMAGE_FILE_FORMAT_UNSPECIFIED"):
        raise field_violation("file_export_options.file_format", f"Unsupported file format for image exports: {kind}.")
    tiff = options.get("geoTiffOptions", {})
    size = int(tiff.get("tileSize", 0)) or DEFAULT_TILE_SIZE
    width, height = (tiff.get("tileDimensions", {}).get(side) for side in ("width", "height"))
    if any(side is not None and (side < 1 or side % size) for side in (width, height)):
        text = f"File dimensions ({width}x{height}) must be positive multiples of the tile size ({size})."
        raise field_violation("file_export_options.geo_tiff_options.tile_dimensions", text)
    place, prefix, uri = _place(options, description)
    return FileDestination(
        place=place,
        prefix=prefix,
        uri=uri,
        cloud_optimized=bool(tiff.get("cloudOptimized", False)),
        no_data=tiff["noData"].get("floatValue", 0.0) if "noData" in tiff else None,
        tile_size=size,
        tile_width=width,
        tile_height=height,
        skip_empty=bool(tiff.get("skipEmptyFiles", False)),
    )


def _place(options: Mapping[str, Any], description: str) -> tuple[str, str, str]:
    """The folder under the root, the prefix in it, and the URI that an operation shows."""
    if "cloudStorageDestination" in options:
        target = options["cloudStorageDestination"]
        bucket, prefix = target.get("bucket", ""), target.get("filenamePrefix") or description
        if not bucket:
            raise field_violation("file_export_options.cloud_storage_destination.bucket", "Bucket must be specified.")
        folder = prefix.rpartition("/")[0]
        uri = f"https://console.developers.google.com/storage/browser/{bucket}/{folder + '/' if folder else ''}"
        return _safe(f"gs/{bucket}"), _safe(prefix), uri
    if "driveDestination" in options:
        target = options["driveDestination"]
        folder, prefix = target.get("folder", ""), target.get("filenamePrefix") or description
        return (
            _safe(f"drive/{folder}" if folder else "drive"),
            _safe(prefix),
            "https://drive.google.com/#folders/emulated",
        )
    raise field_violation("file_export_options.destination", "A Drive or Cloud Storage destination must be specified.")


def _safe(path: str) -> str:
    """Refuse what would leave the root."""
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise invalid(f"Invalid file name prefix: '{path}'.")
    return path


def _asset(options: Mapping[str, Any]) -> AssetDestination:
    target = options.get("earthEngineDestination", {})
    if not target.get("name"):
        name = "asset_export_options.earth_engine_destination.name"
        raise field_violation(name, "Asset name must be specified.")
    policy = options.get("pyramidingPolicy", "MEAN")
    overrides = dict(options.get("pyramidingPolicyOverrides", {}))
    for each in (policy, *overrides.values()):
        if each not in _POLICIES:
            raise field_violation("asset_export_options.pyramiding_policy", f"Invalid pyramiding policy: {each}.")
    default = overrides.pop(".default", policy)
    return AssetDestination(target["name"], bool(target.get("overwrite", False)), default, overrides)


def export_grid(image: Image, request: ExportRequest) -> Grid:
    """The pixels to export: the request's grid, or the one that the expression ends in."""
    if not image.bands:
        raise invalid("Image has no bands to export.")
    base = base_band(image.bands)
    if request.grid is None and (base is None or base.extent is None):
        raise invalid("Cannot export an unbounded image: specify a grid, or a region with a scale or crsTransform.")
    return requested_grid(image, request.grid, None)
