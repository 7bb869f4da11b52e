"""Rows of CSV and TFRecord files: columns with types, one of which may be the geometry."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError

from airflow_ee.emulator.codecs import example
from airflow_ee.emulator.codecs.tfrecord import TFRecordError, records
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.imports.table_manifest import RowSource
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

INDEX = "system:index"
MAX_CELL = 2**24

_WHOLE = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
_WKT = re.compile(
    r"\s*(MULTI)?(POINT|LINESTRING|POLYGON)\s*(Z|M|ZM)?\s*(\(|EMPTY)|\s*(GEOMETRYCOLLECTION|LINEARRING)\s*(\(|EMPTY)",
    re.IGNORECASE,
)
_GEOJSON = re.compile(r'\s*\{.*"(coordinates|geometries)"', re.DOTALL)

Row = dict[str, Any]
ReadDate = Callable[[str], Date]


def csv_rows(path: Path, source: RowSource) -> list[Row]:
    """The rows of a CSV file as texts; what is empty is left out."""
    csv.field_size_limit(MAX_CELL)
    charset = "utf-8-sig" if source.charset in (None, "utf-8") else source.charset
    try:
        with path.open(encoding=charset, newline="") as file:
            lines = csv.reader(file, delimiter=source.delimiter, quotechar=source.qualifier, skipinitialspace=True)
            header = [name.strip() for name in next(lines, [])]
            _check_header(header, source)
            return [_row(header, line, source, number) for number, line in enumerate(lines, start=2) if line]
    except UnicodeDecodeError:
        raise invalid(
            f"Unable to read {source.file.uri}: it is not in the charset {source.charset or 'UTF-8'}."
        ) from None
    except csv.Error as problem:
        raise invalid(f"Unable to read {source.file.uri}: {problem}.") from None


def _check_header(header: Sequence[str], source: RowSource) -> None:
    if not any(header):
        raise invalid(f"Unable to read {source.file.uri}: it has no header row.")
    for name in header:
        if not name or header.count(name) > 1:
            problem = f"column '{name[:100]}' is there twice" if name else "a column has no name"
            raise invalid(f"Unable to read {source.file.uri}: {problem}.")


def _row(header: Sequence[str], line: Sequence[str], source: RowSource, number: int) -> Row:
    if len(line) > len(header):
        raise invalid(f"Unable to read {source.file.uri}: row {number} has more values than there are columns.")
    cells = ((name, text.strip()) for name, text in zip_longest(header, line, fillvalue=""))
    return {name: text for name, text in cells if text}


def tfrecord_rows(path: Path, source: RowSource) -> list[Row]:
    """The examples of a TFRecord file, compressed or not; lists of one value are that value."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            return [_values(example.decode(record), source) for record in records(file)]  # type: ignore[arg-type]
    except (TFRecordError, ValueError, OSError, KeyError) as problem:
        raise invalid(f"Unable to read {source.file.uri}: it is no TFRecord of examples ({problem}).") from None


def _values(found: Mapping[str, Any], source: RowSource) -> Row:
    charset = source.charset or "utf-8"
    lists = {
        name: values.tolist() if isinstance(values, np.ndarray) else [value.decode(charset) for value in values]
        for name, values in found.items()
    }
    return {name: values[0] if len(values) == 1 else values for name, values in lists.items() if values}


def features(
    rows: Sequence[Row], source: RowSource, types: Mapping[str, str], read_date: ReadDate | None
) -> list[Feature]:
    """The rows with typed properties, and the geometry that their source says."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    geometry = _geometry_column(rows, columns, source)
    reads = {name: _reader(name, rows, types.get(name), read_date) for name in columns if name not in (geometry, INDEX)}
    return [
        Feature(
            _geometry(row, geometry, source, number),
            {name: reads[name](value) for name, value in row.items() if name in reads},
            str(row[INDEX]) if INDEX in row else None,
        )
        for number, row in enumerate(rows)
    ]


def _geometry_column(rows: Sequence[Row], columns: Sequence[str], source: RowSource) -> str | None:
    """The column with geometries; None where they are made of coordinates, or where there are none."""
    wanted = source.geometry_column
    points = f"{source.x_column}_{source.y_column}"
    if wanted and wanted not in columns and not wanted.startswith(points):
        raise invalid(f"There is no geometry column '{wanted[:100]}' in {source.file.uri}.")
    if source.named_columns:
        for name in (source.x_column, source.y_column):
            if rows and name not in columns:
                raise invalid(f"There is no column '{name[:100]}' in {source.file.uri}.")
    if wanted:
        return wanted if wanted in columns else None
    return next((name for name in columns if _holds_geometries(row[name] for row in rows if name in row)), None)


def _holds_geometries(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) and (_WKT.match(value) or _GEOJSON.match(value)) for value in values)


def _geometry(row: Row, column: str | None, source: RowSource, number: int) -> Geometry | None:
    if column is not None:
        return _parsed(row[column], source, number) if column in row else None
    x, y = (_coordinate(row.get(name)) for name in (source.x_column, source.y_column))
    return None if x is None or y is None else Geometry(shapely.Point(x, y), source.crs)


def _coordinate(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return float(value) if isinstance(value, int | float) else None


def _parsed(text: Any, source: RowSource, number: int) -> Geometry | None:
    try:
        if not isinstance(text, str):
            raise invalid("it is no text")
        found = _from_geojson(text, source) if text.startswith("{") else _from_wkt(text, source)
    except (ShapelyError, ValueError, EmulatorError) as problem:
        short = f"'{str(text)[:60]}'"
        raise invalid(f"Geometry {short} of row {number + 1} of {source.file.uri} is invalid: {problem}.") from None
    return None if found.shape.is_empty else found


def _from_wkt(text: str, source: RowSource) -> Geometry:
    return Geometry(shapely.force_2d(shapely.from_wkt(text)), source.crs, geodesic=source.geodesic)


def _from_geojson(text: str, source: RowSource) -> Geometry:
    given = json.loads(text)
    found = Geometry.of_json(given)
    crs = found.crs if "crs" in given else source.crs
    return Geometry(found.shape, crs, bool(given.get("geodesic", source.geodesic)), found.even_odd)


def _reader(name: str, rows: Sequence[Row], kind: str | None, read_date: ReadDate | None) -> Callable[[Any], Any]:
    """What makes a column's values of its texts: numbers if all are, dates if they fit the format, else texts."""
    values = [row[name] for row in rows if name in row]
    texts = [value for value in values if isinstance(value, str)]
    if kind == "STRING":
        return str
    if kind in ("NUMERIC", "LONG"):
        return lambda value: _number(value, name, whole=kind == "LONG")
    if len(texts) < len(values):
        return lambda value: value
    if read_date is not None and _all_read(texts, read_date):
        return read_date
    if all(_WHOLE.fullmatch(text) for text in texts):
        return int
    return float if all(_NUMBER.fullmatch(text) for text in texts) else str


def _all_read(texts: Iterable[str], read_date: ReadDate) -> bool:
    try:
        return all(isinstance(read_date(text), Date) for text in texts)
    except EmulatorError:
        return False


def _number(value: Any, name: str, *, whole: bool) -> float:
    text = str(value)
    if not (_WHOLE if whole else _NUMBER).fullmatch(text):
        kind = "a whole number" if whole else "a number"
        raise invalid(f"Value '{text[:60]}' of column '{name[:100]}' is not {kind}.")
    return int(text) if whole else float(text)
