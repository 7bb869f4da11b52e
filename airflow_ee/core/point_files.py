"""Points read from files: GeoJSON, CSV, Parquet and GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pyproj
import shapely

from airflow_ee.core.points import Points, label_column, points_from_features

__all__ = ["FILE_SUFFIXES", "points_from_geojson", "read_points"]

Array = npt.NDArray[Any]
FILE_SUFFIXES = (".geojson", ".json", ".csv", ".parquet")
COORDINATE_COLUMNS = (("longitude", "latitude"), ("lon", "lat"), ("lng", "lat"), ("x", "y"))


def read_points(name: str, content: bytes, label_properties: Sequence[str] = ()) -> Points:
    r"""Points of a file, in its order.

    CSV and Parquet have their coordinates, in degrees of EPSG:4326, in columns ``longitude`` and ``latitude``, ``lon`` and ``lat``, ``lng`` and ``lat``, or
    ``x`` and ``y`` (in any case; the first pair of these that is there); GeoParquet has them in its geometry, in any crs.

    Parameters
    ----------
    name
        The file's, whose suffix tells the format.
    label_properties
        Columns or properties that are carried along.

    Raises
    ------
    ValueError
        When the file is none of these, or by row and column what in it cannot be used.

    Examples
    --------
    >>> points = read_points("places.csv", b"lon,lat,crop\n10,45,maize\n11,46,wheat\n", ["crop"])
    >>> points.label("crop", 1)
    'wheat'
    """
    suffix = "." + name.lower().rpartition(".")[2]
    if suffix not in FILE_SUFFIXES:
        raise ValueError(f"points: a file must be one of {', '.join(FILE_SUFFIXES)}, got {name!r}")
    try:
        if suffix == ".csv":
            return _from_table(_read_csv(content), label_properties, untyped=True)
        if suffix == ".parquet":
            return _from_table(pyarrow.parquet.read_table(pa.BufferReader(content)), label_properties)
    except pa.ArrowInvalid as problem:
        raise ValueError(f"points: {name} cannot be read as {suffix[1:]}: {problem}") from None
    return points_from_geojson(_json(name, content), label_properties)


def points_from_geojson(value: Any, label_properties: Sequence[str] = ()) -> Points:
    """Points of a GeoJSON object: a FeatureCollection of Points, a Feature, or a Point.

    >>> len(points_from_geojson({"type": "Point", "coordinates": [10, 45]}))
    1
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"points: GeoJSON is an object, got {type(value).__name__}")
    return points_from_features(_features(value), label_properties)


def _features(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    kind = value.get("type")
    if kind == "FeatureCollection":
        for row, feature in enumerate(value.get("features") or (), start=1):
            if not isinstance(feature, Mapping):
                raise ValueError(f"points: row {row} is no GeoJSON Feature, got {type(feature).__name__}")
            yield feature
    elif kind == "Feature":
        yield value
    else:
        yield {"geometry": value}


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as problem:
        raise ValueError(f"points: {name} is not JSON: {problem}") from None


def _read_csv(content: bytes) -> Any:
    """All columns as text: their types shall not depend on how far a reader looks ahead."""
    head = pyarrow.csv.open_csv(pa.BufferReader(content)).schema.names
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(head, pa.string()))
    return pyarrow.csv.read_csv(pa.BufferReader(content), convert_options=options)


def _from_table(table: Any, label_properties: Sequence[str], *, untyped: bool = False) -> Points:
    missing = [name for name in label_properties if name not in table.column_names]
    if missing:
        raise ValueError(
            f"points: there is no column {', '.join(map(repr, missing))} (label_properties); there are {', '.join(table.column_names)}"
        )
    geometry = json.loads((table.schema.metadata or {}).get(b"geo", b"null"))
    longitudes, latitudes = _from_wkb(table, geometry) if geometry else _from_columns(table)
    read = _typed if untyped else _labels
    labels = {name: read(name, table[name].combine_chunks()) for name in label_properties}
    return Points(longitudes=longitudes, latitudes=latitudes, labels=labels)


def _from_columns(table: Any) -> tuple[Array, Array]:
    names = {name.lower(): name for name in table.column_names}
    for x, y in COORDINATE_COLUMNS:
        if x in names and y in names:
            return _degrees(names[x], table[names[x]]), _degrees(names[y], table[names[y]])
    pairs = " or ".join(" and ".join(pair) for pair in COORDINATE_COLUMNS)
    raise ValueError(f"points: there must be columns {pairs}, got {', '.join(table.column_names)}")


def _degrees(name: str, column: Any) -> Array:
    try:
        degrees = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row, value = next((row, value) for row, value in _rows(column) if not _is_number(value))
        raise ValueError(f"points: row {row}, column {name!r} must be a number, got {value!r}") from None
    _refuse_nulls(name, degrees)
    return np.array(degrees, np.float64)


def _labels(name: str, column: Any) -> Any:
    _refuse_nulls(name, column)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.int64())
    return label_column(name, column.to_pylist())


def _typed(name: str, text: Any) -> Any:
    """Text as numbers where all of it is; a CSV has no types of its own."""
    empty = [row for row, value in _rows(text) if value == ""]
    if empty:
        raise ValueError(f"points: row {empty[0]}, column {name!r} is empty")
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = text.cast(kind)
        except pa.ArrowInvalid:
            continue
        return label_column(name, numbers.to_pylist())
    return text


def _refuse_nulls(name: str, column: Any) -> None:
    if column.null_count:
        row = next(row for row, value in _rows(column) if value is None)
        raise ValueError(f"points: row {row}, column {name!r} is empty")


def _rows(column: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(column.to_pylist(), start=1)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _from_wkb(table: Any, described: Mapping[str, Any]) -> tuple[Array, Array]:
    """Coordinates of GeoParquet's primary geometry, in degrees."""
    name = described["primary_column"]
    column = described["columns"][name]
    if column.get("encoding") != "WKB":
        raise ValueError(f"points: column {name!r} must hold WKB, got encoding {column.get('encoding')!r}")
    _refuse_nulls(name, table[name])
    shapes = shapely.from_wkb(table[name].to_numpy())
    wrong = np.flatnonzero(shapely.get_type_id(shapes) != shapely.GeometryType.POINT)
    if len(wrong):
        kind = shapes[wrong[0]].geom_type
        raise ValueError(f"points: row {wrong[0] + 1}, column {name!r} must hold a Point, got {kind}")
    return _to_degrees(shapely.get_x(shapes), shapely.get_y(shapes), column.get("crs"))


def _to_degrees(x: Array, y: Array, crs: Any) -> tuple[Array, Array]:
    """GeoParquet without a crs is longitude and latitude."""
    found = None if crs is None else pyproj.CRS.from_user_input(crs)
    if found is None or found.equals("OGC:CRS84", ignore_axis_order=True) or found.to_epsg() == 4326:
        return x, y
    transformer = pyproj.Transformer.from_crs(found, "OGC:CRS84", always_xy=True)
    longitudes, latitudes = transformer.transform(x, y)
    return np.asarray(longitudes), np.asarray(latitudes)
