"""Exported shapefiles: one kind of geometry, one coordinate system, short column names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.codecs.shapefile import KIND_OF, MAX_BYTES, MAX_TEXT, POINT, Column, shapes, table
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.columns import INDEX, Table, text
from airflow_ee.emulator.exports.drafts import Draft
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.values.geometry import Geometry

MAX_COLUMN = 10
_WHOLE = Column("", "N", 18)
_REAL = Column("", "N", 33, 15)
_CONTENT_TYPE = "application/octet-stream"


def write_shapefile(source: Table, folder: Path, step: Callable[[], None]) -> list[Draft]:
    """The five files of a shapefile; refuses what the format cannot hold."""
    numbers = range(len(source.features))
    geometries = [source.geometry(number) for number in numbers]
    known = [geometry for geometry in geometries if geometry is not None and not geometry.shape.is_empty]
    crs = _one_crs(known)
    kind = _one_kind(known)
    columns, rows = _table(source)
    shp, shx = shapes([_shape(geometry) for geometry in geometries], kind)
    contents = {
        ".shp": shp,
        ".shx": shx,
        ".dbf": table(columns, rows),
        ".prj": crs.wkt.encode(),
        ".cpg": b"UTF-8",
    }
    drafts = []
    for suffix, content in contents.items():
        if len(content) > MAX_BYTES:
            raise invalid(f"Shapefile is too large: {suffix} has {len(content)} bytes (max: {MAX_BYTES}).")
        path = folder / f"table{suffix}"
        path.write_bytes(content)
        drafts.append(Draft(path, suffix, _CONTENT_TYPE))
        step()
    return drafts


def _shape(geometry: Geometry | None) -> BaseGeometry | None:
    return None if geometry is None else geometry.shape


def _one_crs(geometries: Sequence[Geometry]) -> Crs:
    systems = {geometry.crs for geometry in geometries} or {WGS84}
    if len(systems) > 1:
        names = ", ".join(sorted(crs.text[:40] for crs in systems))
        raise invalid(f"Features of a shapefile must have the same projection, found: {names}.")
    return systems.pop()


def _one_kind(geometries: Sequence[Geometry]) -> int:
    names = sorted({geometry.shape.geom_type for geometry in geometries})
    kinds = {KIND_OF.get(name) for name in names} or {POINT}
    if len(kinds) > 1 or None in kinds:
        raise invalid(f"Features of a shapefile must have the same geometry type, found: {', '.join(names)}.")
    return kinds.pop() or POINT


def _table(source: Table) -> tuple[list[Column], list[list[Any]]]:
    names = [INDEX, *source.names] if INDEX in source.columns else list(source.names)
    short = [name.encode()[:MAX_COLUMN].decode(errors="ignore") for name in names]
    twice = next((name for name in short if short.count(name) > 1), None)
    if twice is not None:
        raise invalid(f"Duplicate column name '{twice}' after truncation to {MAX_COLUMN} characters.")
    values = [[source.value(number, name) for number in range(len(source.features))] for name in names]
    columns = [_column(name, each) for name, each in zip(short, values, strict=True)]
    cells = [_cells(column, each) for column, each in zip(columns, values, strict=True)]
    return columns, [list(row) for row in zip(*cells, strict=True)]


def _column(name: str, values: Sequence[Any]) -> Column:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        whole = all(float(value).is_integer() and abs(value) < 10**17 for value in known)
        kind = _WHOLE if whole else _REAL
        return Column(name, kind.kind, kind.width, kind.digits)
    longest = max((len(text(value).encode()) for value in known), default=1)
    return Column(name, "C", min(MAX_TEXT, max(1, longest)))


def _cells(column: Column, values: Sequence[Any]) -> list[Any]:
    return [None if value is None else text(value) if column.kind == "C" else value for value in values]
