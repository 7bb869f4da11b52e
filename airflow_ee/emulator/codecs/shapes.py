"""ESRI shapefiles read: the inverse of :mod:`airflow_ee.emulator.codecs.shapefile`, for files of any writer."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

_HEADER, _RECORD = 100, 8
_DESCRIPTOR, _END_OF_HEADER = 32, 0x0D
_DELETED = ord("*")
_POINT, _LINES, _RINGS, _POINTS = 1, 3, 5, 8
_WITH_MORE_DIMENSIONS = (10, 20)
"""What is added to the code of a kind whose points have heights, or measures: both are left out."""

Points = NDArray[np.float64]


class ShapefileError(ValueError):
    """A file that is no shapefile, or is of a kind that is not read."""


def geometries(shp: bytes) -> Iterator[BaseGeometry | None]:
    """The shapes of a ``.shp`` file; None for a null shape."""
    if len(shp) < _HEADER or shp[:4] != b"\x00\x00\x27\x0a":
        raise ShapefileError("it is not a shapefile")
    place = _HEADER
    while place + _RECORD <= len(shp):
        (words,) = struct.unpack_from(">i", shp, place + 4)
        content = shp[place + _RECORD : place + _RECORD + 2 * words]
        if words < 2 or len(content) != 2 * words:
            raise ShapefileError("a shape ends early")
        try:
            yield _geometry(content)
        except (struct.error, ShapelyError, ValueError, IndexError) as problem:
            raise ShapefileError(f"a shape is spoilt ({problem})") from None
        place += _RECORD + 2 * words


def _geometry(content: bytes) -> BaseGeometry | None:
    (code,) = struct.unpack_from("<i", content)
    kind = next((code - more for more in _WITH_MORE_DIMENSIONS if code - more in (1, 3, 5, 8)), code)
    if kind == 0:
        return None
    if kind == _POINT:
        return shapely.Point(*struct.unpack_from("<2d", content, 4))
    if kind == _POINTS:
        (count,) = struct.unpack_from("<i", content, 36)
        return shapely.MultiPoint(_points(content, 40, count))
    if kind not in (_LINES, _RINGS):
        raise ShapefileError(f"shapes of type {code} are not read")
    parts = _parts(content)
    return _polygon(parts) if kind == _RINGS else _lines(parts)


def _points(content: bytes, place: int, count: int) -> Points:
    return np.frombuffer(content, "<f8", 2 * count, place).reshape(count, 2)


def _parts(content: bytes) -> list[Points]:
    count, total = struct.unpack_from("<2i", content, 36)
    starts = struct.unpack_from(f"<{count}i", content, 44)
    points = _points(content, 44 + 4 * count, total)
    return [points[start:end] for start, end in zip(starts, (*starts[1:], total), strict=True)]


def _lines(parts: Sequence[Points]) -> BaseGeometry:
    lines = [shapely.LineString(part) for part in parts]
    return lines[0] if len(lines) == 1 else shapely.MultiLineString(lines)


def _polygon(parts: Sequence[Points]) -> BaseGeometry:
    """Rings that go clockwise are outer ones; the others are holes of the outer ring that they are in."""
    rings = [shapely.LinearRing(part) for part in parts]
    shells = [ring for ring in rings if not ring.is_ccw] or rings[:1]
    holes: list[list[shapely.LinearRing]] = [[] for _ in shells]
    outlines = [shapely.Polygon(shell) for shell in shells]
    for hole in (ring for ring in rings if not any(ring is shell for shell in shells)):
        inside = [number for number, outline in enumerate(outlines) if outline.covers(shapely.Point(hole.coords[0]))]
        around = min(inside, key=lambda number: outlines[number].area, default=0)
        holes[around].append(hole)
    polygons = [shapely.Polygon(shell, inner) for shell, inner in zip(shells, holes, strict=True)]
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


@dataclass(frozen=True, slots=True)
class DbfColumn:
    """A column of a dBASE table."""

    name: str
    kind: str
    width: int
    digits: int


def rows(dbf: bytes, charset: str) -> Iterator[dict[str, Any] | None]:
    """The rows of a ``.dbf`` file by column; None for one that is marked as deleted."""
    if len(dbf) < _DESCRIPTOR:
        raise ShapefileError("its table is no dBASE file")
    count, start, size = struct.unpack_from("<IHH", dbf, 4)
    columns = list(_columns(dbf, charset))
    for place in range(start, start + count * size, max(1, size)):
        row = dbf[place : place + size]
        if len(row) < size:
            raise ShapefileError("its table ends early")
        yield None if row[0] == _DELETED else dict(_cells(row, columns, charset))


def _columns(dbf: bytes, charset: str) -> Iterator[DbfColumn]:
    place = _DESCRIPTOR
    while place + _DESCRIPTOR <= len(dbf) and dbf[place] != _END_OF_HEADER:
        name = dbf[place : place + 11].split(b"\0")[0].decode(charset)
        yield DbfColumn(name, chr(dbf[place + 11]), dbf[place + 16], dbf[place + 17])
        place += _DESCRIPTOR


def _cells(row: bytes, columns: Sequence[DbfColumn], charset: str) -> Iterator[tuple[str, Any]]:
    place = 1
    for column in columns:
        yield column.name, _value(row[place : place + column.width], column, charset)
        place += column.width


def _value(cell: bytes, column: DbfColumn, charset: str) -> Any:
    if column.kind not in "CNFLD":
        raise ShapefileError(f"columns of type {column.kind} are not read ('{column.name}')")
    text = cell.decode(charset).strip(" \0")
    if column.kind in "CD" or not text:
        return text or None
    if column.kind == "L":
        return {"T": True, "Y": True, "F": False, "N": False}.get(text.upper())
    if set(text) == {"*"}:
        return None
    try:
        return int(text) if column.digits == 0 and column.kind == "N" else float(text)
    except ValueError:
        raise ShapefileError(f"'{text[:50]}' in column '{column.name}' is no number") from None
