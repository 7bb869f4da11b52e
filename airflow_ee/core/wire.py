"""Values to and from the REST API's JSON. camelCase names of the wire live here, in ``wire_assets``, ``wire_ingestion``, ``batch`` and ``export_options``.

The service omits fields that hold their default, writes 64-bit numbers as strings, and the official client wraps some
numbers in ``{"value": ...}``; readers here take all of these forms.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.reading import expecting
from airflow_ee.core.resources import Asset, Band, Operation, Stage

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "PixelsTemplate",
    "asset_from_rest",
    "asset_name",
    "bands_from_image_value",
    "compute_body",
    "grid_from_rest",
    "grid_to_rest",
    "list_assets_filter",
    "operation_from_rest",
    "operation_name",
    "pixels_body",
    "timestamp",
    "without_empty",
]

PIXEL_FORMATS = ("NPY", "GEO_TIFF", "PNG", "JPEG", "AUTO_JPEG_PNG")
PUBLIC_ASSETS = "projects/earthengine-public/assets/"
LEGACY_ASSETS = "projects/earthengine-legacy/assets/"

_OPERATION = re.compile(r"projects/(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+:)?[a-z0-9-]+/operations/[A-Za-z0-9_-]+")
_INTEGER_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")


def grid_to_rest(grid: PixelGrid) -> dict[str, Any]:
    """A ``PixelGrid`` message.

    >>> grid_to_rest(PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=9, height=6))["crsCode"]
    'EPSG:32633'
    """
    # The same grid, the same text, whether its maker wrote 10 or 10.0.
    a, b, c, d, e, f = map(float, grid.transform)
    return {
        _crs_field(grid.crs): grid.crs,
        "dimensions": {"width": grid.width, "height": grid.height},
        "affineTransform": {
            "scaleX": a,
            "shearX": b,
            "translateX": c,
            "shearY": d,
            "scaleY": e,
            "translateY": f,
        },
    }


def grid_from_rest(value: Mapping[str, Any]) -> PixelGrid:
    """Read a whole ``PixelGrid`` message: crs, transform and dimensions must all be there.

    >>> grid_from_rest({"crsCode": "EPSG:4326"})
    Traceback (most recent call last):
    ValueError: grid must have crsCode or crsWkt, affineTransform and dimensions, got crsCode
    """
    crs = value.get("crsCode") or value.get("crsWkt")
    transform, dimensions = value.get("affineTransform"), value.get("dimensions")
    if not crs or not isinstance(transform, Mapping) or not isinstance(dimensions, Mapping):
        raise ValueError(
            f"grid must have crsCode or crsWkt, affineTransform and dimensions, got {', '.join(sorted(value)) or 'nothing'}"
        )
    _refuse_unknown("grid", value, ("crsCode", "crsWkt", "affineTransform", "dimensions"))
    _refuse_unknown(
        "grid.affineTransform", transform, ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    )
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    a, b, c, d, e, f = (float(transform.get(name, 0.0)) for name in names)
    return PixelGrid(
        crs=str(crs),
        transform=(a, b, c, d, e, f),
        width=int(dimensions.get("width", 0)),
        height=int(dimensions.get("height", 0)),
    )


def pixels_body(
    *,
    file_format: str,
    grid: PixelGrid | None,
    band_ids: Sequence[str] | None = None,
    expression: Expression | None = None,
    visualization_options: Mapping[str, Any] | None = None,
    workload_tag: str | None = None,
) -> dict[str, Any]:
    """The body of getPixels, or of computePixels when there is an expression."""
    if file_format not in PIXEL_FORMATS:
        raise ValueError(f"file_format must be one of {', '.join(PIXEL_FORMATS)}, got {file_format!r}")
    return without_empty(
        {
            "expression": expression.graph if expression else None,
            "fileFormat": file_format,
            "grid": grid_to_rest(grid) if grid else None,
            "bandIds": list(band_ids) if band_ids else None,
            "visualizationOptions": visualization_options,
            "workloadTag": workload_tag,
        }
    )


@dataclass(frozen=True, slots=True)
class PixelsTemplate:
    """The body of pixel requests that differ in their grid only, written once: an expression may have megabytes.

    >>> template = PixelsTemplate.of({"fileFormat": "NPY"})
    >>> template.body(PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=2, height=1))[:40]
    b'{"fileFormat":"NPY","grid":{"crsCode":"E'
    """

    start: bytes
    """JSON without its last brace."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """The template of a body without ``grid``."""
        return cls(json.dumps(body, separators=(",", ":"), allow_nan=False).encode()[:-1])

    def body(self, grid: PixelGrid) -> bytes:
        """The body for one grid."""
        written = json.dumps(grid_to_rest(grid), separators=(",", ":"), allow_nan=False)
        return self.start + b',"grid":' + written.encode() + b"}"


def compute_body(
    expression: Expression, *, workload_tag: str | None = None, page_size: int | None = None
) -> dict[str, Any]:
    """The body of value:compute, and with a page's size of computeFeatures and computeImages."""
    return without_empty({"expression": expression.graph, "pageSize": page_size, "workloadTag": workload_tag or None})


@expecting("an operation")
def operation_from_rest(value: Mapping[str, Any]) -> Operation:
    """Read an ``Operation``; fields that hold their default may be absent."""
    if not isinstance(value.get("name"), str):
        raise MalformedResponse(f"Expected an operation, got {reprlib.repr(value)}.")
    metadata = value.get("metadata") or {}
    state = metadata.get("state") or (
        "UNKNOWN" if not value.get("done") else "FAILED" if value.get("error") else "SUCCEEDED"
    )
    return Operation(
        name=value["name"],
        state=state,
        type=metadata.get("type", ""),
        description=metadata.get("description", ""),
        priority=_number(metadata.get("priority")),
        attempt=int(metadata.get("attempt", 1)),
        progress=float(metadata.get("progress", 0.0)),
        stages=tuple(_stage(stage) for stage in metadata.get("stages", ())),
        create_time=metadata.get("createTime"),
        start_time=metadata.get("startTime"),
        update_time=metadata.get("updateTime"),
        end_time=metadata.get("endTime"),
        destination_uris=tuple(metadata.get("destinationUris", ())),
        eecu_seconds=metadata.get("batchEecuUsageSeconds"),
        error=dict(value["error"]) if value.get("error") else None,
    )


@expecting("an asset")
def asset_from_rest(value: Mapping[str, Any]) -> Asset:
    """Read an ``EarthEngineAsset``."""
    if not isinstance(value.get("name"), str):
        raise MalformedResponse(f"Expected an asset, got {reprlib.repr(value)}.")
    return Asset(
        name=value["name"],
        id=value.get("id") or value["name"].removeprefix(PUBLIC_ASSETS),
        type=value.get("type", "TYPE_UNSPECIFIED"),
        start_time=_datetime(value.get("startTime")),
        end_time=_datetime(value.get("endTime")),
        update_time=value.get("updateTime"),
        bands=tuple(_band(band) for band in value.get("bands", ())),
        properties=dict(value.get("properties", {})),
        geometry=value.get("geometry"),
    )


def bands_from_image_value(value: Any) -> tuple[Band, ...]:
    """Read the bands of an image that value:compute described."""
    if not isinstance(value, Mapping) or value.get("type") != "Image":
        kind = value.get("type") if isinstance(value, Mapping) else type(value).__name__
        raise ValueError(f"expression must give an image, it gives {ascii(kind)[:50].strip(chr(39))}")
    return _computed_bands(value)


def asset_name(asset_id: str) -> str:
    """The resource name of an asset that a user named in any of the usual ways.

    >>> asset_name("MODIS/061/MOD13Q1")
    'projects/earthengine-public/assets/MODIS/061/MOD13Q1'
    >>> asset_name("users/someone/image")
    'projects/earthengine-legacy/assets/users/someone/image'
    """
    cleaned = asset_id.strip("/")
    if not cleaned or any(character in cleaned for character in "?#%\\ \t\n") or ".." in cleaned.split("/"):
        raise ValueError(f"asset id must be a path such as MODIS/061/MOD13Q1, got {asset_id!r}")
    if cleaned.startswith("projects/"):
        if "/assets/" not in cleaned:
            raise ValueError(f"asset id must be projects/{{project}}/assets/{{path}}, got {asset_id!r}")
        return cleaned
    return (LEGACY_ASSETS if cleaned.startswith("users/") else PUBLIC_ASSETS) + cleaned


def operation_name(project: str, operation: str) -> str:
    """The full name of an operation given by full name or bare id.

    >>> operation_name("demo-project", "3DNU363IM57LNU4SDTMB6I33")
    'projects/demo-project/operations/3DNU363IM57LNU4SDTMB6I33'
    """
    name = operation if operation.startswith("projects/") else f"projects/{project}/operations/{operation}"
    # It becomes the path of a URL: nothing may lead elsewhere.
    if not _OPERATION.fullmatch(name):
        raise ValueError(
            f"operation_name must be projects/{{project}}/operations/{{id}} or a bare id, got {operation!r}"
        )
    return name


def list_assets_filter(*, start: datetime | None, end: datetime | None, region_geojson: str | None) -> str:
    """The filter expression of listAssets, as the official client writes it."""
    parts = []
    if start is not None:
        parts.append(f'startTime >= "{timestamp(start)}"')
    if end is not None:
        parts.append(f'endTime < "{timestamp(end)}"')
    if region_geojson is not None:
        quoted = region_geojson.replace('"', "'")
        parts.append(f'intersects("{quoted}")')
    return " AND ".join(parts)


def timestamp(moment: datetime) -> str:
    """An aware moment as the service writes times.

    >>> timestamp(datetime(2020, 6, 9, tzinfo=UTC))
    '2020-06-09T00:00:00.000000Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _crs_field(crs: str) -> str:
    return "crsWkt" if "[" in crs else "crsCode"


def _refuse_unknown(where: str, value: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ValueError(f"{where} has no field {', '.join(unknown)}; it has {', '.join(known)}")


def without_empty(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without fields that are None."""
    return {name: value for name, value in body.items() if value is not None}


def _stage(value: Mapping[str, Any]) -> Stage:
    return Stage(
        name=value.get("displayName", ""),
        complete_work_units=float(value.get("completeWorkUnits", 0)),
        total_work_units=float(value.get("totalWorkUnits", 0)),
    )


def _number(value: Any) -> int | None:
    if isinstance(value, Mapping):
        value = value.get("value")
    return None if value is None else int(value)


def _datetime(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _band(value: Mapping[str, Any]) -> Band:
    data_type = value.get("dataType") or {}
    limits = data_type.get("range") or {}
    precision = {"INT": "int", "FLOAT": "float"}.get(data_type.get("precision", ""), "double")
    return Band(
        id=value["id"],
        dtype=_dtype(precision, limits.get("min"), limits.get("max")),
        grid=_whole_grid(value.get("grid")),
    )


@expecting("an image's bands")
def _computed_bands(value: Mapping[str, Any]) -> tuple[Band, ...]:
    return tuple(_computed_band(band) for band in value.get("bands", ()))


def _computed_band(value: Mapping[str, Any]) -> Band:
    data_type = value.get("data_type") or {}
    return Band(
        id=value["id"], dtype=_dtype(data_type.get("precision", "double"), data_type.get("min"), data_type.get("max"))
    )


def _whole_grid(value: Mapping[str, Any] | None) -> PixelGrid | None:
    complete = value and "affineTransform" in value and "dimensions" in value
    return grid_from_rest(value) if value and complete else None


def _dtype(precision: str, minimum: float | None, maximum: float | None) -> np.dtype[Any]:
    """The type of a band in NPY; proto3 leaves a zero minimum out."""
    import numpy as np

    if precision == "float":
        return np.dtype("float32")
    if precision != "int":
        return np.dtype("float64")
    low, high = minimum or 0, maximum or 0
    for name in _INTEGER_TYPES:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    return np.dtype("float64")
