"""Features to a table in a file: Parquet, CSV or GeoJSON.

The features are first written to a scratch file as they come, while the kinds of their columns are found; then the table is
written from there. So the whole table counts for the type of a column, however the service cuts it into pages, and no more
than one group of rows is in memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import shapely

from airflow_ee.core.columns import NULL, TEXT, Kind, arrow_type, arrow_value, json_value, kind_of, text_of, widen
from airflow_ee.core.errors import MalformedResponse

__all__ = ["GEOMETRY", "INDEX", "TABLE_FORMATS", "FeatureSpool", "Table", "check_format"]

INDEX = "system:index"
GEOMETRY = ".geo"
"""Earth Engine's name of the geometry among the columns of a table."""
TABLE_FORMATS = ("PARQUET", "CSV", "GEO_JSON")
GROUP_ROWS = 10_000
GROUP_BYTES = 8 << 20
"""A group of rows ends at so many rows or bytes of JSON, so that large polygons do not fill the memory."""
NO_GEOMETRY = '{"type":"MultiPoint","coordinates":[]}'
"""How Earth Engine's CSV writes the geometry of a feature that has none."""
_NEEDS_QUOTES = re.compile(r'[",\r\n]')

Feature = Mapping[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Features in a scratch file, with the columns that are written of them."""

    file: Path
    """One JSON object a feature: every column that it has a value for, the geometry as the text of its GeoJSON."""
    rows: int
    columns: Mapping[str, Kind]
    """In their order; :data:`GEOMETRY` among them where geometries are written."""
    missing: tuple[str, ...] = ()
    """Selected columns that no feature has; they are written, and empty."""

    def write(self, target: Path, file_format: str, provenance: Mapping[str, str]) -> None:
        """Write the table to a local file.

        Equal features, columns and provenance give equal bytes.

        Parameters
        ----------
        file_format
            One of :data:`TABLE_FORMATS`. Parquet has typed columns, and GeoParquet's WKB column ``geometry`` in longitude
            and latitude; CSV is as Earth Engine exports it, with GeoJSON in the column ``.geo``; GeoJSON has one feature
            a line.
        provenance
            Where the table comes from: into Parquet's metadata and a member ``provenance`` of GeoJSON. CSV has no place
            for it.
        """
        check_format(file_format)
        _WRITERS[file_format](self, target, provenance)

    def groups(self) -> Iterator[list[Row]]:
        """The features in groups that fit in memory."""
        group: list[Row] = []
        size = 0
        with self.file.open(encoding="utf-8") as lines:
            for line in lines:
                group.append(json.loads(line))
                size += len(line)
                if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
                    yield group
                    group, size = [], 0
        if group:
            yield group


@dataclass(slots=True)
class FeatureSpool:
    """Takes features as they come, and tells the table that they make.

    >>> import tempfile
    >>> feature = {"type": "Feature", "geometry": None, "properties": {"b": 1, "a": 0.5}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     list(FeatureSpool(Path(folder) / "features").take([feature]).columns)
    ['system:index', 'a', 'b', '.geo']
    """

    file: Path
    selectors: Sequence[str] | None = None
    """Columns to write, in this order; None: the index, the properties by name, the geometry."""
    known: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that are known beforehand: they are written even if no feature has them, and are no narrower than this."""
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _rows: int = 0

    def __post_init__(self) -> None:
        if self.selectors is not None and len(set(self.selectors)) != len(self.selectors):
            raise ValueError(f"selectors: each column at most once, got {list(self.selectors)}")
        self._kinds |= self.known

    def take(self, features: Iterable[Feature]) -> Table:
        """Write all features to the scratch file.

        Raises
        ------
        MalformedResponse
            When something is no feature.
        """
        with self.file.open("w", encoding="utf-8") as lines:
            for feature in features:
                self._add(feature, lines)
        columns = {name: TEXT if name == INDEX else self._kinds.get(name, NULL) for name in self._names()}
        missing = tuple(name for name in columns if name not in (*self._kinds, INDEX, GEOMETRY))
        return Table(file=self.file, rows=self._rows, columns=columns, missing=missing)

    def _add(self, feature: Feature, lines: IO[str]) -> None:
        row = _row(feature, self._rows)
        if self.selectors is not None:
            row = {name: row[name] for name in self.selectors if name in row}
        for name, value in row.items():
            if name not in {INDEX, GEOMETRY}:
                self._kinds[name] = widen(self._kinds.get(name, NULL), kind_of(value))
        # `json.dump` into a file takes the slow way, in pieces.
        lines.write(json.dumps(row, separators=(",", ":")) + "\n")
        self._rows += 1

    def _names(self) -> Sequence[str]:
        return [INDEX, *sorted(self._kinds), GEOMETRY] if self.selectors is None else self.selectors


def check_format(file_format: str) -> None:
    """Refuse a format that is not written.

    >>> check_format("SHP")
    Traceback (most recent call last):
    ValueError: file_format must be one of PARQUET, CSV, GEO_JSON, got 'SHP'
    """
    if file_format not in TABLE_FORMATS:
        raise ValueError(f"file_format must be one of {', '.join(TABLE_FORMATS)}, got {file_format!r}")


def _row(feature: Feature, number: int) -> Row:
    """A feature's columns. Without an index its place stands for it, as in Earth Engine's own exports."""
    properties = feature.get("properties")
    if feature.get("type") != "Feature" or not isinstance(properties, Mapping | None):
        raise MalformedResponse(f"Expected a GeoJSON feature, got {str(feature)[:200]} as number {number}.")
    row = {str(name): value for name, value in (properties or {}).items()}
    index = row.get(INDEX, feature.get("id"))
    geometry = feature.get("geometry")
    # As text it is parsed no second time, and takes a tenth of the memory.
    shape = {} if geometry is None else {GEOMETRY: _compact(geometry)}
    row.pop(GEOMETRY, None)
    return {**row, INDEX: str(number if index is None else index), **shape}


def _write_csv(table: Table, target: Path, provenance: Mapping[str, str]) -> None:  # noqa: ARG001
    with target.open("w", encoding="utf-8", newline="") as file:
        file.write(_csv_line(table.columns))
        for group in table.groups():
            for row in group:
                file.write(_csv_line(_csv_cell(name, row.get(name)) for name in table.columns))


def _csv_cell(name: str, value: Any) -> str:
    return NO_GEOMETRY if name == GEOMETRY and value is None else text_of(value)


def _csv_line(cells: Iterable[str]) -> str:
    # Python's own writer, told to end lines as Earth Engine does, leaves a carriage return in a cell without quotes.
    line = ",".join('"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell for cell in cells)
    # An empty line would be no row to a reader.
    return (line or '""') + "\n"


def _write_geojson(table: Table, target: Path, provenance: Mapping[str, str]) -> None:
    with target.open("w", encoding="utf-8") as file:
        file.write(f'{{"type":"FeatureCollection","provenance":{_compact(dict(provenance))},"features":[')
        separator = "\n"
        for group in table.groups():
            for row in group:
                file.write(separator + _geojson_feature(table.columns, row))
                separator = ",\n"
        file.write("\n]}\n")


def _geojson_feature(columns: Mapping[str, Kind], row: Row) -> str:
    """Every feature has every column; the index is its ``id`` as well."""
    properties = {name: json_value(kind, row.get(name)) for name, kind in columns.items() if name != GEOMETRY}
    name = f'"id":{_compact(row[INDEX])},' if INDEX in columns else ""
    return f'{{"type":"Feature",{name}"geometry":{row.get(GEOMETRY, "null")},"properties":{_compact(properties)}}}'


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _write_parquet(table: Table, target: Path, provenance: Mapping[str, str]) -> None:
    shapes = _Shapes(name=GEOMETRY if "geometry" in table.columns else "geometry")
    fields = [
        pa.field(shapes.name, pa.binary()) if name == GEOMETRY else pa.field(name, arrow_type(kind))
        for name, kind in table.columns.items()
    ]
    schema = pa.schema(fields)
    # A stored Arrow schema would hide from pyarrow what is added at the end; these types come back without it.
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
        for group in table.groups():
            columns = [
                shapes.encode(group) if name == GEOMETRY else _column(group, name, kind)
                for name, kind in table.columns.items()
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
        geo = {"geo": shapes.metadata()} if GEOMETRY in table.columns else {}
        writer.add_key_value_metadata({**provenance, **geo})


def _column(rows: Sequence[Row], name: str, kind: Kind) -> pa.Array:
    return pa.array([arrow_value(kind, row.get(name)) for row in rows], arrow_type(kind))


@dataclass(slots=True, kw_only=True)
class _Shapes:
    """Geometries as WKB, and what GeoParquet 1.1 tells of them."""

    name: str
    types: set[str] = field(default_factory=set)
    bounds: tuple[float, float, float, float] = (math.inf, math.inf, -math.inf, -math.inf)

    def encode(self, rows: Sequence[Row]) -> pa.Array:
        try:
            shapes = shapely.from_geojson(np.array([row.get(GEOMETRY) for row in rows], dtype=object))
        except shapely.errors.GEOSException as problem:
            raise MalformedResponse(f"A feature's geometry is no GeoJSON: {problem}.") from None
        self.types |= {shape.geom_type for shape in shapes if shape is not None}
        west, south, east, north = shapely.total_bounds(shapes)
        if not math.isnan(west):
            old = self.bounds
            self.bounds = (
                min(west, old[0]), min(south, old[1]), max(east, old[2]), max(north, old[3]),
            )  # fmt: skip
        return pa.array(shapely.to_wkb(shapes, output_dimension=2), pa.binary())

    def metadata(self) -> str:
        """Without a crs it is longitude and latitude, says GeoParquet; edges are straight lines there."""
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(self.types), "edges": "planar"}
        if self.bounds[0] <= self.bounds[2]:
            column["bbox"] = [float(edge) for edge in self.bounds]
        return json.dumps({"version": "1.1.0", "primary_column": self.name, "columns": {self.name: column}})


_WRITERS = {"PARQUET": _write_parquet, "CSV": _write_csv, "GEO_JSON": _write_geojson}
