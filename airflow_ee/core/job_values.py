"""Values of a job as JSON, and back: sources, points, files. What is read is checked by the values themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_ee.core.expression import Expression
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.patch_fetch import PatchSource
from airflow_ee.core.patch_grids import PatchRule
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.points import Points
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Band
from airflow_ee.core.sinks.layout import BandLayout

__all__ = [
    "file_from_json",
    "file_to_json",
    "layout_from_json",
    "layout_to_json",
    "moment_from_json",
    "moment_to_json",
    "patch_source_from_json",
    "patch_source_to_json",
    "points_from_json",
    "points_to_json",
    "rule_from_json",
    "rule_to_json",
    "source_from_json",
    "source_to_json",
]

Json = dict[str, Any]


def source_to_json(source: PixelSource) -> Json:
    """An image and what is wanted of it."""
    return {
        "asset_id": source.asset_id,
        "expression": _graph(source.expression),
        "bands": _bands(source.bands),
        "masks": source.masks,
        "min_mask": source.min_mask,
        "workload_tag": source.workload_tag,
    }


def source_from_json(value: Mapping[str, Any]) -> PixelSource:
    """Read what :func:`source_to_json` wrote."""
    known = {**value, "expression": _expression(value["expression"]), "bands": _read_bands(value["bands"])}
    return PixelSource(**known)


def patch_source_to_json(source: PatchSource) -> Json:
    """Images and what is wanted of each."""
    return {
        "images": list(source.images),
        "expression": _graph(source.expression),
        "bands": _bands(source.bands),
        "masked": source.masked,
        "min_mask": source.min_mask,
        "workload_tag": source.workload_tag,
    }


def patch_source_from_json(value: Mapping[str, Any]) -> PatchSource:
    """Read what :func:`patch_source_to_json` wrote."""
    known = {
        **value,
        "images": tuple(value["images"]),
        "expression": _expression(value["expression"]),
        "bands": _read_bands(value["bands"]),
    }
    return PatchSource(**known)


def file_to_json(file: ImageFile) -> Json:
    """How a raster's file shall be."""
    return {
        "file_format": file.file_format,
        "mask": file.mask,
        "nodata": None if file.nodata is None else repr(file.nodata),
        "clip_to": None if file.clip_to is None else file.clip_to.to_geojson(),
        "visualization_options": None if file.visualization_options is None else dict(file.visualization_options),
    }


def file_from_json(value: Mapping[str, Any]) -> ImageFile:
    """Read what :func:`file_to_json` wrote."""
    nodata, clip_to = value["nodata"], value["clip_to"]
    known = {
        **value,
        # As text: JSON has no NaN, and a whole number of 64 bits is no float.
        "nodata": None if nodata is None else _number(str(nodata)),
        "clip_to": None if clip_to is None else Region.parse(clip_to),
    }
    return ImageFile(**known)


def points_to_json(points: Points) -> Json:
    """Places with their labels, as columns."""
    labels = {name: {"type": str(column.type), "values": column.to_pylist()} for name, column in points.labels.items()}
    return {"longitudes": points.longitudes.tolist(), "latitudes": points.latitudes.tolist(), "labels": labels}


def points_from_json(value: Mapping[str, Any]) -> Points:
    """Read what :func:`points_to_json` wrote."""
    kinds = {"int64": pa.int64(), "double": pa.float64(), "string": pa.string()}
    labels = {name: pa.array(column["values"], kinds[column["type"]]) for name, column in value["labels"].items()}
    return Points(
        longitudes=np.array(value["longitudes"], np.float64),
        latitudes=np.array(value["latitudes"], np.float64),
        labels=labels,
    )


def rule_to_json(rule: PatchRule) -> Json:
    """How patches lie around points."""
    return {
        "width": rule.width,
        "height": rule.height,
        "crs": rule.crs,
        "scale": rule.scale,
        "transform": rule.transform,
        "snap": rule.snap,
    }


def rule_from_json(value: Mapping[str, Any]) -> PatchRule:
    """Read what :func:`rule_to_json` wrote."""
    transform = value["transform"]
    known = {**value, "transform": None if transform is None else tuple(transform)}
    return PatchRule(**known)


def layout_to_json(bands: tuple[BandLayout, ...]) -> list[Json]:
    """Bands as files describe them."""
    return [
        {"name": band.name, "dtype": band.dtype.str, "scale": band.scale, "offset": band.offset, "unit": band.unit}
        for band in bands
    ]


def layout_from_json(value: list[Json]) -> tuple[BandLayout, ...]:
    """Read what :func:`layout_to_json` wrote."""
    return tuple(BandLayout(**{**band, "dtype": np.dtype(band["dtype"])}) for band in value)


def moment_to_json(moment: datetime | None) -> str | None:
    """A moment with its zone."""
    return None if moment is None else moment.isoformat()


def moment_from_json(value: str | None) -> datetime | None:
    """Read what :func:`moment_to_json` wrote."""
    return None if value is None else datetime.fromisoformat(value)


def _graph(expression: Expression | None) -> Json | None:
    return None if expression is None else expression.graph


def _expression(value: Any) -> Expression | None:
    return None if value is None else Expression.parse(value)


def _bands(bands: tuple[Band, ...]) -> list[Json]:
    return [{"id": band.id, "dtype": band.dtype.str} for band in bands]


def _read_bands(value: list[Json]) -> tuple[Band, ...]:
    return tuple(Band(id=band["id"], dtype=np.dtype(band["dtype"])) for band in value)


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
