"""Exported tables: CSV, GeoJSON, KML, KMZ, shapefiles and TFRecord."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.codecs import example, kml
from airflow_ee.emulator.codecs.tfrecord import framed
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.columns import GEOMETRY, Table, geojson, geometry_text, text
from airflow_ee.emulator.exports.drafts import Draft
from airflow_ee.emulator.exports.shapefiles import write_shapefile
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.values.dates import Date

Step = Callable[[], None]
"""Called after each feature; may raise to stop."""

Writer = Callable[[Table, Path, Step], list[Draft]]


def write_table(table: Table, file_format: str, folder: Path, step: Step) -> list[Draft]:
    """The files of a table as drafts in ``folder``."""
    return _WRITERS[file_format](table, folder, step)


def _write_csv(table: Table, folder: Path, step: Step) -> list[Draft]:
    path = folder / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        for number in range(len(table.features)):
            writer.writerow([_cell(table, number, column) for column in table.columns])
            step()
    return [Draft(path, ".csv", "text/csv")]


def _cell(table: Table, number: int, column: str) -> str:
    return geometry_text(table.geometry(number)) if column == GEOMETRY else text(table.value(number, column))


def _write_geojson(table: Table, folder: Path, step: Step) -> list[Draft]:
    path = folder / "table.geojson"
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for number in range(len(table.features)):
            file.write(",\n" if number else "\n")
            json.dump(_feature(table, number), file, separators=(",", ":"), ensure_ascii=False)
            step()
        file.write("\n]}\n")
    return [Draft(path, ".geojson", "application/geo+json")]


def _feature(table: Table, number: int) -> dict[str, Any]:
    geometry = table.geometry(number)
    return {
        "type": "Feature",
        "geometry": None if geometry is None else geojson(geometry),
        "id": table.value(number, "system:index"),
        "properties": {name: json_value(table.value(number, name)) for name in table.names},
    }


def json_value(value: Any) -> Any:
    """A property as JSON has it: whole doubles as whole numbers, null for what is not finite."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Date):
        return text(value)
    if isinstance(value, Mapping):
        return {str(key): json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return json_value(value.as_value()) if hasattr(value, "as_value") else value


def _write_kml(table: Table, folder: Path, step: Step) -> list[Draft]:
    return [Draft(_kml_file(table, folder, step), ".kml", "application/vnd.google-earth.kml+xml")]


def _write_kmz(table: Table, folder: Path, step: Step) -> list[Draft]:
    path = folder / "table.kmz"
    kml.zipped(_kml_file(table, folder, step), path)
    return [Draft(path, ".kmz", "application/vnd.google-earth.kmz")]


def _kml_file(table: Table, folder: Path, step: Step) -> Path:
    path = folder / "table.kml"
    with path.open("w", encoding="utf-8") as file:
        for line in kml.document("table", _placemarks(table, step)):
            file.write(line + "\n")
    return path


def _placemarks(table: Table, step: Step) -> Iterator[tuple[str, Mapping[str, str], BaseGeometry | None]]:
    for number in range(len(table.features)):
        values = ((name, table.value(number, name)) for name in table.names)
        data = {name: text(value) for name, value in values if value is not None}
        geometry = table.geometry(number)
        shape = None if geometry is None else geometry.in_crs(WGS84)
        yield table.value(number, "system:index"), data, shape
        step()


def _write_shp(table: Table, folder: Path, step: Step) -> list[Draft]:
    return write_shapefile(table, folder, step)


def _write_tfrecord(table: Table, folder: Path, step: Step) -> list[Draft]:
    """One compressed file always; geometries have no form in it."""
    path = folder / "table.tfrecord.gz"
    names = [name for name in table.columns if name != GEOMETRY]
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for number in range(len(table.features)):
            values = {name: table.value(number, name) for name in names}
            features = {name: _listed(name, value) for name, value in values.items() if value is not None}
            file.write(framed(example.encode(features)))
            step()
    return [Draft(path, ".tfrecord.gz", "application/octet-stream")]


def _listed(name: str, value: Any) -> example.Values:
    """Numbers become float32 whatever they were; lists of numbers one after the other, row by row."""
    if isinstance(value, str):
        return [value.encode()]
    if isinstance(value, Date):
        value = value.milliseconds
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return [each.encode() for each in value]
    try:
        return np.ravel(np.asarray(value, np.float64)).astype(np.float32)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise invalid(f"Property '{name}' has a type that TFRecord cannot hold: {kind}.") from None


_WRITERS: dict[str, Writer] = {
    "CSV": _write_csv,
    "GEO_JSON": _write_geojson,
    "KML": _write_kml,
    "KMZ": _write_kmz,
    "SHP": _write_shp,
    "TF_RECORD_TABLE": _write_tfrecord,
}
