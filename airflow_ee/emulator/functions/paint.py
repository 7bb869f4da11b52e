"""Collections drawn as pixels: numbers into the bands of an image, or colours for the eye."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_number, registry
from airflow_ee.emulator.functions.shapes import Covered, covers, in_pixels
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Pointwise, Positional, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype, type_of_number, union
from airflow_ee.emulator.values.colours import Colour, parse_colour
from airflow_ee.emulator.values.element import Collection, Feature, geometry_of
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image

_FILL_OPACITY = 0.66
_RGB = ("vis-red", "vis-green", "vis-blue")
_BYTE = type_of_dtype("uint8")
_MARKERS = {"circle": "circle", "o": "circle", "square": "square", "s": "square", "diamond": "diamond", "d": "diamond"}


@registry.implements("Image.paint")
def paint(image: Image, feature_collection: Collection, color: Any = 0, width: Any = None) -> Image:
    """A number wherever a geometry covers the pixel's centre, or wherever its outline of so many pixels does."""
    strokes = [
        _Stroke(geometry, _number(feature, color, "color"), None if width is None else _number(feature, width, "width"))
        for feature in feature_collection.elements
        if (geometry := geometry_of(feature)) is not None and not geometry.shape.is_empty
    ]
    type_ = None
    for stroke in strokes:
        each = type_of_number(stroke.value)
        type_ = each if type_ is None else union(type_, each)
    painted = Positional(lambda grid: _painted(strokes, grid))
    return image if type_ is None else image.each(lambda band: _over(band, painted, union(band.type, type_)))


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A geometry with its number, and the pixels that its outline is wide."""

    geometry: Geometry
    value: float
    width: float | None

    def covered(self, grid: Grid) -> Covered:
        shape = in_pixels(self.geometry, grid)
        return covers(shape if self.width is None else outlined(shape, self.width), grid)


def _number(feature: Feature | Image, given: Any, argument: str) -> float:
    value = feature.properties.get(given) if isinstance(given, str) else given
    if isinstance(value, bool | int | float):
        return float(value) if isinstance(value, float) else int(value)
    raise invalid(f"Image.paint: '{argument}' is neither a number nor the name of a numeric property: {given!r}.")


def _painted(strokes: Sequence[_Stroke], grid: Grid) -> Raster:
    values, mask = np.zeros(grid.shape), np.zeros(grid.shape, np.float32)
    for stroke in strokes:
        inside = stroke.covered(grid)
        values[inside], mask[inside] = stroke.value, 1
    return Raster(values, mask)


def _over(band: Band, painted: Positional, type_: Any) -> Band:
    def change(below: Raster, above: Raster) -> Raster:
        new = above.mask > 0
        values = np.where(new, above.values.astype(type_.dtype), below.values.astype(type_.dtype))
        return Raster(values, np.where(new, np.float32(1), below.mask))

    return replace(band, type=type_, node=Pointwise(change, band.node, painted))


def outlined(shape: BaseGeometry, width: float) -> BaseGeometry:
    """The outline of a polygon, or a line or point itself, with a width in pixels."""
    edge = shape.boundary if shape.area > 0 else shape
    return edge.buffer(max(width, 1.0) / 2)


@registry.implements("Collection.style")
def style(
    collection: Collection,
    color: str = "black",
    point_size: int = 3,
    point_shape: str = "circle",
    width: float = 2.0,
    fill_color: str | None = None,
    style_property: str | None = None,
    neighborhood: int = 5,  # noqa: ARG001 -- shapes are drawn whole, so that tiles cannot show
    line_type: str = "solid",
) -> Image:
    """A picture of a collection: outlines, fills and markers, each feature over those before it."""
    usual = {
        "color": color, "pointSize": point_size, "pointShape": point_shape, "width": width, "fillColor": fill_color,
        "lineType": line_type,
    }  # fmt: skip
    layers = [layer for each in collection.elements for layer in _layers(each, {**usual, **_own(each, style_property)})]
    return _picture(layers)


@registry.implements("Collection.draw")
def draw(collection: Collection, color: str, point_radius: int = 3, stroke_width: int = 2) -> Image:
    """A picture of a collection in one colour."""
    return style(collection, color, 2 * point_radius, width=stroke_width)


def _own(feature: Feature | Image, style_property: str | None) -> Mapping[str, Any]:
    found = feature.properties.get(style_property) if style_property is not None else None
    if found is None or isinstance(found, Mapping):
        return found or {}
    raise invalid(f"Collection.style: The property '{style_property}' must hold a dictionary.")


@dataclass(frozen=True, slots=True)
class _Layer:
    """One colour, and the pixels that it covers."""

    colour: Colour
    covered: Callable[[Grid], Covered]


def _layers(feature: Feature | Image, wanted: Mapping[str, Any]) -> list[_Layer]:
    geometry = geometry_of(feature)
    if geometry is None or geometry.shape.is_empty:
        return []
    if wanted["lineType"] != "solid":
        raise invalid(f"Collection.style: lineType '{wanted['lineType']}' is not emulated")
    line = parse_colour(wanted["color"])
    faint = line._replace(opacity=line.opacity * _FILL_OPACITY)
    fill = faint if wanted["fillColor"] is None else parse_colour(wanted["fillColor"])
    stroke, size = float(as_number(wanted["width"])), float(as_number(wanted["pointSize"]))
    if geometry.shape.geom_type in ("Point", "MultiPoint"):
        marker = _marker(wanted["pointShape"], size / 2)
        shapes = [lambda grid: covers(marker(in_pixels(geometry, grid)), grid)]
        return [_Layer(fill if wanted["fillColor"] is not None else line, shapes[0])]
    edge = _Layer(line, lambda grid: covers(outlined(in_pixels(geometry, grid), stroke), grid))
    if geometry.shape.area == 0:
        return [edge]
    inside = _Layer(fill, lambda grid: covers(in_pixels(geometry, grid), grid))
    return [inside, edge] if stroke > 0 else [inside]


def _marker(name: str, radius: float) -> Callable[[BaseGeometry], BaseGeometry]:
    kind = _MARKERS.get(name)
    if kind is None:
        raise invalid(f"Collection.style: pointShape '{name}' is not emulated; use circle, square or diamond")
    if kind == "circle":
        return lambda points: points.buffer(radius)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)] if kind == "square" else [(0, -1), (1, 0), (0, 1), (-1, 0)])

    def stamp(points: BaseGeometry) -> BaseGeometry:
        places = shapely.get_coordinates(points)
        return shapely.MultiPolygon([shapely.Polygon(place + radius * corners) for place in places])

    return stamp


def _picture(layers: Sequence[_Layer]) -> Image:
    def channel(index: int) -> Positional:
        def read(grid: Grid) -> Raster:
            values: NDArray[Any] = np.zeros(grid.shape)
            mask: NDArray[Any] = np.zeros(grid.shape)
            for layer in layers:
                share = layer.covered(grid) * layer.colour.opacity
                total = share + mask * (1 - share)
                mixed = layer.colour[index] * share + values * mask * (1 - share)
                values = np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0)
                mask = total
            return Raster(np.floor(values + 0.5).astype(np.uint8), mask.astype(np.float32))

        return Positional(read)

    return Image(tuple(Band(name, _BYTE, channel(index)) for index, name in enumerate(_RGB)))
