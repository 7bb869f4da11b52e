"""Many named regions from what users have: GeoJSON, GeoParquet, or a Parquet or CSV table with geometry as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_ee.core.region import Region

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["NamedRegion", "read_regions", "regions_of_features"]

GEOMETRY_COLUMNS = ("geometry", ".geo", "wkt", "geom", "wkb_geometry", "the_geom")
"""Where a geometry is looked for, in this order; ``.geo`` is what Earth Engine's own CSV exports have."""
LARGEST_CSV_FIELD = 1 << 27


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRegion:
    """A region and what the table calls it."""

    id: str
    region: Region | None
    """None: the whole grid."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a region needs a name that is not empty")


def read_regions(name: str, content: bytes, id_property: str | None) -> tuple[NamedRegion, ...]:
    """The regions of a file, in its order.

    Parameters
    ----------
    name
        The file's; its ending says what it is: ``.geojson``, ``.json``, ``.parquet``, ``.geoparquet`` or ``.csv``.
    id_property
        Property or column that names each region; None: a GeoJSON feature's ``id``, else a column ``region_id``, ``id`` or
        ``system:index``.

    Raises
    ------
    ValueError
        When the file cannot be read, a region is none, or two have one name; the message names the region.
    """
    suffix = name.lower().rsplit(".", 1)[-1]
    if suffix in {"geojson", "json"}:
        features: Iterable[Mapping[str, Any]] = _from_geojson(content)
    elif suffix in {"parquet", "geoparquet"}:
        features = _from_parquet(content)
    elif suffix == "csv":
        features = _from_csv(content)
    else:
        raise ValueError(
            f"regions_uri must end in .geojson, .json, .parquet, .geoparquet or .csv, or be a table asset, got {name!r}"
        )
    return regions_of_features(features, id_property)


def regions_of_features(features: Iterable[Mapping[str, Any]], id_property: str | None) -> tuple[NamedRegion, ...]:
    """Regions of GeoJSON features, in their order.

    Raises
    ------
    ValueError
        When there is none, one is no polygon, has no name, or has another's.
    """
    found: dict[str, NamedRegion] = {}
    for number, feature in enumerate(features, start=1):
        name = _name(feature, id_property, number)
        if name in found:
            raise ValueError(
                f"regions_uri: two regions are called {name!r} (the second is number {number}); name them apart by "
                "region_id_property"
            )
        try:
            found[name] = NamedRegion(id=name, region=Region(_shape(feature["geometry"])))
        except ValueError as problem:
            raise ValueError(f"regions_uri: region {name!r} (number {number}): {problem}") from None
    if not found:
        raise ValueError("regions_uri has no region")
    return tuple(found.values())


def _name(feature: Mapping[str, Any], id_property: str | None, number: int) -> str:
    properties = feature.get("properties") or {}
    if id_property is not None:
        if properties.get(id_property) in (None, ""):
            raise ValueError(
                f"region_id_property: region number {number} has no {id_property!r}; it has "
                f"{', '.join(map(str, properties)) or 'no properties'}"
            )
        return _text(properties[id_property])
    candidates = (feature.get("id"), *(properties.get(key) for key in ("region_id", "id", "system:index")))
    name = next((value for value in candidates if value not in (None, "")), None)
    if name is None:
        raise ValueError(
            f"regions_uri: region number {number} has no id: give region_id_property, one of {', '.join(map(str, properties)) or 'none'}"
        )
    return _text(name)


def _text(value: Any) -> str:
    # Tables with gaps keep whole numbers as floats.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shape(geometry: Any) -> BaseGeometry:
    """A polygon from GeoJSON, WKT or WKB; anything else is refused."""
    import shapely
    from shapely.geometry.base import BaseGeometry

    if isinstance(geometry, BaseGeometry):
        return geometry
    if isinstance(geometry, str) and geometry.lstrip().startswith("{"):
        geometry = json.loads(geometry)
    if isinstance(geometry, Mapping):
        return Region.parse(geometry).geometry
    if not isinstance(geometry, str | bytes) or not geometry:
        raise ValueError("it has no geometry")
    try:
        read: BaseGeometry = shapely.from_wkb(geometry) if isinstance(geometry, bytes) else shapely.from_wkt(geometry)
    except shapely.errors.GEOSException as problem:
        raise ValueError(f"its geometry cannot be read: {problem}") from None
    return read


def _from_geojson(content: bytes) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(content)
    except ValueError as problem:
        raise ValueError(f"regions_uri is not GeoJSON: {problem}") from None
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "FeatureCollection":
        return list(document.get("features") or [])
    if kind == "Feature":
        return [document]
    raise ValueError(f"regions_uri must be a GeoJSON FeatureCollection, got {kind or type(document).__name__}")


def _from_csv(content: bytes) -> Iterator[Mapping[str, Any]]:
    # Outlines of countries are longer than Python's csv takes by default.
    csv.field_size_limit(LARGEST_CSV_FIELD)
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    column = _geometry_column(rows.fieldnames or ())
    for row in rows:
        yield {"geometry": row[column], "properties": {key: row[key] for key in row if key != column}}


def _from_parquet(content: bytes) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as problem:
        raise ValueError(f"regions_uri is no Parquet file: {problem}") from None
    described = json.loads((table.schema.metadata or {}).get(b"geo", b"{}"))
    column = described.get("primary_column") or _geometry_column(table.column_names)
    crs = (described.get("columns") or {}).get(column, {}).get("crs")
    for row in table.to_pylist():
        geometry = row.pop(column)
        yield {"geometry": _to_degrees(_shape(geometry), crs) if crs and geometry else geometry, "properties": row}


def _geometry_column(names: Iterable[str]) -> str:
    lower = {name.lower(): name for name in names}
    for candidate in GEOMETRY_COLUMNS:
        if candidate in lower:
            return lower[candidate]
    raise ValueError(
        f"regions_uri has no geometry: no column is called {', '.join(GEOMETRY_COLUMNS)}; it has {', '.join(lower.values())}"
    )


def _to_degrees(geometry: BaseGeometry, crs: Mapping[str, Any]) -> BaseGeometry:
    """A geometry in longitude and latitude, from the crs that GeoParquet names as PROJJSON."""
    import numpy as np
    import pyproj
    import shapely

    source = pyproj.CRS.from_json_dict(dict(crs))
    if source.is_geographic:
        return geometry
    transformer = pyproj.Transformer.from_crs(source, "EPSG:4326", always_xy=True)
    moved: BaseGeometry = shapely.transform(
        geometry, lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
    )
    return moved
