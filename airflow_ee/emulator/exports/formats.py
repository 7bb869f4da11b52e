"""Options of exported image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import field_violation, invalid

DEFAULT_TILE_SIZE = 256
DEFAULT_PATCH = 256
DEFAULT_SHARD_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class GeoTiffFormat:
    """How GeoTIFFs are cut and written."""

    cloud_optimized: bool = False
    no_data: float | None = None
    tile_size: int = DEFAULT_TILE_SIZE
    file_width: int | None = None
    file_height: int | None = None
    skip_empty: bool = False


@dataclass(frozen=True, slots=True)
class TfRecordFormat:
    """How patches are cut and written. Sizes are width, height."""

    patch: tuple[int, int] = (DEFAULT_PATCH, DEFAULT_PATCH)
    margin: tuple[int, int] = (0, 0)
    """Pixels that a patch has beyond its own, on both sides together."""
    compress: bool = False
    max_bytes: int = DEFAULT_SHARD_BYTES
    default_value: float = 0.0
    collapse_bands: bool = False
    max_masked_ratio: float = 1.0


ImageFormat = GeoTiffFormat | TfRecordFormat


def image_format(options: Mapping[str, Any]) -> ImageFormat:
    """The format that the options of a file export name."""
    kind = options.get("fileFormat", "GEO_TIFF")
    if kind == "TF_RECORD_IMAGE":
        _refuse_other(options, "geoTiffOptions", kind)
        return _tf_record(options.get("tfRecordOptions", {}))
    if kind in ("GEO_TIFF", "IMAGE_FILE_FORMAT_UNSPECIFIED"):
        _refuse_other(options, "tfRecordOptions", "GEO_TIFF")
        return _geo_tiff(options.get("geoTiffOptions", {}))
    raise field_violation("file_export_options.file_format", f"Unsupported file format for image exports: {kind}.")


def _refuse_other(options: Mapping[str, Any], name: str, kind: str) -> None:
    if options.get(name):
        raise invalid(f"Options of another format ({name}) given for an export of {kind}.")


def _geo_tiff(tiff: Mapping[str, Any]) -> GeoTiffFormat:
    size = int(tiff.get("tileSize", 0)) or DEFAULT_TILE_SIZE
    if size < 0:
        raise field_violation("file_export_options.geo_tiff_options.tile_size", f"Invalid tile size: {size}.")
    if tiff.get("metadataKeys"):
        raise invalid("GeoTIFF option metadataKeys is not emulated")
    width, height = _size(tiff.get("tileDimensions"), (0, 0))
    if "tileDimensions" in tiff and any(side < 1 or side % size for side in (width, height)):
        text = f"File dimensions ({width}x{height}) must be positive multiples of the tile size ({size})."
        raise field_violation("file_export_options.geo_tiff_options.tile_dimensions", text)
    return GeoTiffFormat(
        cloud_optimized=bool(tiff.get("cloudOptimized", False)),
        no_data=_no_data(tiff["noData"]) if "noData" in tiff else None,
        tile_size=size,
        file_width=width or None,
        file_height=height or None,
        skip_empty=bool(tiff.get("skipEmptyFiles", False)),
    )


def _no_data(number: Mapping[str, Any]) -> float:
    if "integerValue" in number:
        raise invalid("noData: only noData.float_value is currently supported.")
    return float(number.get("floatValue", 0.0))


def _tf_record(options: Mapping[str, Any]) -> TfRecordFormat:
    if options.get("sequenceData"):
        raise invalid("TFRecord option sequenceData is not emulated")
    path = "file_export_options.tf_record_options"
    for band, depth in options.get("tensorDepths", {}).items():
        # They are those of array bands, which no image has here: nothing but the numbers can be wrong.
        if int(depth) < 1:
            raise field_violation(
                f"{path}.tensor_depths", f"Depth of band '{band[:100]}' must be positive, got {depth}."
            )
    patch = _size(options.get("tileDimensions"), (DEFAULT_PATCH, DEFAULT_PATCH))
    margin = _size(options.get("marginDimensions"), (0, 0))
    if min(patch) < 1:
        raise field_violation(f"{path}.tile_dimensions", f"Patch dimensions {patch} must be positive.")
    if min(margin) < 0:
        raise field_violation(f"{path}.margin_dimensions", f"Margin dimensions {margin} must not be negative.")
    ratio = float(options.get("maxMaskedRatio", 1.0))
    if not 0 <= ratio <= 1:
        raise field_violation(f"{path}.max_masked_ratio", f"Ratio of masked pixels must be in 0..1, got {ratio}.")
    limit = int(options.get("maxSizeBytes", 0)) or DEFAULT_SHARD_BYTES
    if limit < 0:
        raise field_violation(f"{path}.max_size_bytes", f"Maximum size must be positive, got {limit}.")
    return TfRecordFormat(
        patch=patch,
        margin=margin,
        compress=bool(options.get("compress", False)),
        max_bytes=limit,
        default_value=float(options.get("defaultValue", 0.0)),
        collapse_bands=bool(options.get("collapseBands", False)),
        max_masked_ratio=ratio,
    )


def _size(dimensions: Mapping[str, Any] | None, default: tuple[int, int]) -> tuple[int, int]:
    if dimensions is None:
        return default
    return int(dimensions.get("width", 0)), int(dimensions.get("height", 0))
