"""ESRI shapefiles: shapes, their index and a dBASE table, after the 1998 white paper."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

NULL, POINT, POLYLINE, POLYGON, MULTIPOINT = 0, 1, 3, 5, 8
KIND_OF = {
    "Point": POINT,
    "LineString": POLYLINE,
    "LinearRing": POLYLINE,
    "MultiLineString": POLYLINE,
    "Polygon": POLYGON,
    "MultiPolygon": POLYGON,
    "MultiPoint": MULTIPOINT,
}
MAX_BYTES = 2**31 - 1
MAX_TEXT = 254
_FILE_CODE, _VERSION, _HEADER = 9994, 1000, 100

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: ``C`` for text, ``N`` for numbers, with its width and digits after the point."""

    name: str
    kind: str
    width: int
    digits: int = 0


def shapes(geometries: Sequence[BaseGeometry | None], kind: int) -> tuple[bytes, bytes]:
    """The ``.shp`` and the ``.shx`` file of geometries of one kind; None is a null shape."""
    contents = [_shape(geometry, kind) for geometry in geometries]
    body, index, place = bytearray(), bytearray(), _HEADER
    for number, content in enumerate(contents, start=1):
        index += struct.pack(">2i", place // 2, len(content) // 2)
        body += struct.pack(">2i", number, len(content) // 2) + content
        place += 8 + len(content)
    known = [geometry for geometry in geometries if geometry is not None and not geometry.is_empty]
    bounds = shapely.total_bounds(known) if known else (0.0, 0.0, 0.0, 0.0)
    edge = (float(bounds[0]), float(bounds[1]), float(bounds[2]), float(bounds[3]))
    return _header(len(body), kind, edge) + bytes(body), _header(len(index), kind, edge) + bytes(index)


def _header(size: int, kind: int, bounds: Bounds) -> bytes:
    """The length counts words of two bytes, this header included."""
    start = struct.pack(">i20xi", _FILE_CODE, (_HEADER + size) // 2)
    return start + struct.pack("<2i8d", _VERSION, kind, *bounds, 0.0, 0.0, 0.0, 0.0)


def _shape(geometry: BaseGeometry | None, kind: int) -> bytes:
    if geometry is None or geometry.is_empty:
        return struct.pack("<i", NULL)
    writers: dict[int, Callable[[BaseGeometry], bytes]] = {
        POINT: _point,
        MULTIPOINT: _multipoint,
        POLYLINE: _lines,
        POLYGON: _polygons,
    }
    return struct.pack("<i", kind) + writers[kind](geometry)


def _point(geometry: BaseGeometry) -> bytes:
    return _pairs(geometry)


def _multipoint(geometry: BaseGeometry) -> bytes:
    return struct.pack("<4di", *geometry.bounds, len(_members(geometry))) + _pairs(geometry)


def _lines(geometry: BaseGeometry) -> bytes:
    return _parts(geometry, _members(geometry))


def _polygons(geometry: BaseGeometry) -> bytes:
    """Outer rings run clockwise, holes the other way round."""
    rings: list[BaseGeometry] = []
    for polygon in _members(geometry):
        turned = orient(polygon, sign=-1.0)
        rings += [turned.exterior, *turned.interiors]
    return _parts(geometry, rings)


def _parts(geometry: BaseGeometry, parts: Sequence[BaseGeometry]) -> bytes:
    sizes = [shapely.get_num_coordinates(part) for part in parts]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    head = struct.pack("<4d2i", *geometry.bounds, len(parts), sum(sizes))
    return head + struct.pack(f"<{len(starts)}i", *starts) + b"".join(_pairs(part) for part in parts)


def _members(geometry: BaseGeometry) -> list[Any]:
    return list(getattr(geometry, "geoms", [geometry]))


def _pairs(geometry: BaseGeometry) -> bytes:
    return bytes(shapely.get_coordinates(geometry).astype("<f8").tobytes())


def table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> bytes:
    """The ``.dbf`` file: text in UTF-8, numbers right-aligned, nothing where a value is None."""
    width = 1 + sum(column.width for column in columns)
    header_size = 32 + 32 * len(columns) + 1
    # The date of the last change is a fixed one: the same content is the same bytes.
    header = struct.pack("<4B I 2H 20x", 3, 95, 7, 26, len(rows), header_size, width)
    fields = b"".join(_descriptor(column) for column in columns)
    body = b"".join(b" " + b"".join(map(_cell, columns, row)) for row in rows)
    return header + fields + b"\r" + body + b"\x1a"


def _descriptor(column: Column) -> bytes:
    name = column.name.encode()[:10]
    return struct.pack("<11sc4x2B14x", name, column.kind.encode(), column.width, column.digits)


def _cell(column: Column, value: Any) -> bytes:
    if value is None:
        return b" " * column.width
    if column.kind == "C":
        return _cut(str(value), column.width).ljust(column.width)
    text = f"{value:.{column.digits}f}" if column.digits else str(int(value))
    if len(text) > column.width:
        text = f"{value:.{column.width - 8}e}"
    return text.encode().rjust(column.width)


def _cut(text: str, width: int) -> bytes:
    """At most so many bytes, no character cut in two."""
    return text.encode()[:width].decode(errors="ignore").encode()
