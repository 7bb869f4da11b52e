"""Where exports go and in which form: the REST reference's ``...ExportOptions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_ee.core.destination import Destination
from airflow_ee.core.wire import asset_name, without_empty

__all__ = [
    "IMAGE_FORMATS",
    "MAP_FORMATS",
    "PERMISSIONS",
    "PYRAMIDING_POLICIES",
    "TABLE_FORMATS",
    "asset_options",
    "bigquery_options",
    "feature_view_options",
    "file_options",
    "image_asset_options",
    "image_file_options",
    "map_options",
    "map_tile_options",
]

IMAGE_FORMATS = ("GEO_TIFF", "TF_RECORD_IMAGE")
TABLE_FORMATS = ("CSV", "GEO_JSON", "KML", "KMZ", "SHP", "TF_RECORD_TABLE")
MAP_FORMATS = ("AUTO_JPEG_PNG", "JPEG", "PNG")
PYRAMIDING_POLICIES = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")
PERMISSIONS = ("PUBLIC", "DEFAULT_OBJECT_ACL")
"""Of map tiles in Cloud Storage."""
MOST_ZOOM = 24


def file_options(destination: Destination, file_format: str, formats: tuple[str, ...]) -> dict[str, Any]:
    """Format and place of files in a bucket or a Drive folder.

    >>> file_options(Destination.parse("drive://maps/fields"), "CSV", TABLE_FORMATS)
    {'fileFormat': 'CSV', 'driveDestination': {'folder': 'maps', 'filenamePrefix': 'fields'}}

    Raises
    ------
    ValueError
        When the format is none of ``formats``, or the destination is no place for files.
    """
    if file_format not in formats:
        raise ValueError(f"file_format must be one of {', '.join(formats)}, got {file_format!r}")
    if destination.kind == "gs":
        place = {"cloudStorageDestination": {"bucket": destination.container, "filenamePrefix": destination.prefix}}
    elif destination.kind == "drive":
        folder = {"folder": destination.container} if destination.container else {}
        place = {"driveDestination": {**folder, "filenamePrefix": destination.prefix}}
    else:
        raise ValueError(
            f"destination_uri must be gs://bucket/prefix or drive://folder/prefix, got {destination.uri!r}"
        )
    return {"fileFormat": file_format, **place}


def image_file_options(
    destination: Destination,
    *,
    file_format: str,
    cloud_optimized: bool = True,
    no_data: float | None = None,
    file_dimensions: tuple[int, int] | None = None,
    skip_empty_files: bool = False,
    tf_record_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``ImageFileExportOptions``."""
    options = file_options(destination, file_format, IMAGE_FORMATS)
    if file_format == "TF_RECORD_IMAGE":
        return without_empty({**options, "tfRecordOptions": dict(tf_record_options) if tf_record_options else None})
    width, height = file_dimensions or (None, None)
    options["geoTiffOptions"] = without_empty(
        {
            "cloudOptimized": cloud_optimized,
            "tileDimensions": {"width": width, "height": height} if file_dimensions else None,
            "skipEmptyFiles": skip_empty_files or None,
            "noData": None if no_data is None else {"floatValue": no_data},
        }
    )
    return options


def asset_options(destination: Destination, *, overwrite: bool = False) -> dict[str, Any]:
    """``TableAssetExportOptions`` and ``ClassifierAssetExportOptions``; what images' have, too.

    Raises
    ------
    ValueError
        When the destination is no asset.
    """
    if destination.kind != "asset":
        raise ValueError(f"destination_uri must be projects/{{project}}/assets/{{path}}, got {destination.uri!r}")
    return {
        "earthEngineDestination": {
            "name": asset_name(destination.prefix),
            **({"overwrite": True} if overwrite else {}),
        }
    }


def image_asset_options(
    destination: Destination,
    *,
    overwrite: bool = False,
    pyramiding_policy: str | None = None,
    pyramiding_policy_overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """``ImageAssetExportOptions``."""
    policies = {"pyramiding_policy": pyramiding_policy, **(pyramiding_policy_overrides or {})}
    for name, policy in policies.items():
        if policy is not None and policy not in PYRAMIDING_POLICIES:
            raise ValueError(
                f"pyramiding policy must be one of {', '.join(PYRAMIDING_POLICIES)}, got {policy!r} for {name}"
            )
    return without_empty(
        {
            **asset_options(destination, overwrite=overwrite),
            "pyramidingPolicy": pyramiding_policy,
            "pyramidingPolicyOverrides": dict(pyramiding_policy_overrides) if pyramiding_policy_overrides else None,
        }
    )


def bigquery_options(destination: Destination, *, overwrite: bool = False, append: bool = False) -> dict[str, Any]:
    """``BigQueryExportOptions``.

    >>> bigquery_options(Destination.parse("bigquery://my-project.fields.ndvi", bigquery=True), append=True)
    {'bigqueryDestination': {'table': 'my-project.fields.ndvi', 'append': True}}

    Raises
    ------
    ValueError
        When rows shall be added and replaced at once.
    """
    if overwrite and append:
        raise ValueError("overwrite and append exclude each other")
    return {
        "bigqueryDestination": without_empty(
            {"table": destination.prefix, "overwrite": overwrite or None, "append": append or None}
        )
    }


def feature_view_options(
    destination: Destination, *, ingestion_time_parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """``FeatureViewAssetExportOptions``.

    Raises
    ------
    ValueError
        When the destination is no asset.
    """
    asset_options(destination)
    return without_empty(
        {
            "featureViewDestination": {"name": asset_name(destination.prefix)},
            "ingestionTimeParameters": dict(ingestion_time_parameters) if ingestion_time_parameters else None,
        }
    )


def map_options(destination: Destination, *, file_format: str, permissions: str | None = None) -> dict[str, Any]:
    """``ImageFileExportOptions`` of map tiles, which go to Cloud Storage only.

    Raises
    ------
    ValueError
        When a format or a permission is not known, or the destination is no bucket.
    """
    if destination.kind != "gs":
        raise ValueError(f"destination_uri must be gs://bucket/prefix, got {destination.uri!r}")
    if permissions is not None and permissions not in PERMISSIONS:
        raise ValueError(f"permissions must be one of {', '.join(PERMISSIONS)}, got {permissions!r}")
    options = file_options(destination, file_format, MAP_FORMATS)
    if permissions is not None:
        options["cloudStorageDestination"]["permissions"] = permissions
    return options


def map_tile_options(
    *,
    start_zoom: int = 0,
    end_zoom: int | None = None,
    scale: float | None = None,
    skip_empty: bool = False,
    maps_api_key: str | None = None,
    stride: int | None = None,
) -> dict[str, Any]:
    """``TileOptions``: which zoom levels there are, the last of them told by its number or by metres along a pixel.

    >>> map_tile_options(end_zoom=5, skip_empty=True)
    {'startZoom': 0, 'endZoom': 5, 'skipEmpty': True}

    Raises
    ------
    ValueError
        When both or neither tell the last zoom, or a number is out of range.
    """
    if (end_zoom is None) == (scale is None):
        raise ValueError("a map needs exactly one of end_zoom and scale, which tell its last zoom level")
    last = MOST_ZOOM if end_zoom is None else end_zoom
    if not 0 <= start_zoom <= last <= MOST_ZOOM:
        raise ValueError(f"zoom must be 0 <= start_zoom <= end_zoom <= {MOST_ZOOM}, got {start_zoom} and {end_zoom}")
    if scale is not None and not scale > 0:
        raise ValueError(f"scale must be above 0 metres, got {scale}")
    if stride is not None and stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    return without_empty(
        {
            "startZoom": start_zoom,
            "endZoom": end_zoom,
            "scale": scale,
            "skipEmpty": skip_empty or None,
            "mapsApiKey": maps_api_key,
            "stride": stride,
        }
    )
