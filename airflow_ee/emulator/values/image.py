"""Images as lazy values: named bands with a type, a projection and a node that yields pixels once a grid is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import spread_raster
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import Grid, Projection, bounds_in
from airflow_ee.emulator.pixels.raster import Node, Positional, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype, type_of_number
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.geometry import Geometry, box

DEFAULT_PROJECTION = Projection(WGS84)
"""What composites and constants have: one degree, not meant to be computed in."""

MAX_BANDS = 5000

OUTLINE_STEPS = 8
"""Vertices on each side of a footprint."""


def check_bands(count: int) -> None:
    """Refuse an image of too many bands."""
    if count > MAX_BANDS:
        raise invalid(f"Image: {count} bands are too many (maximum {MAX_BANDS}).")


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One band of an image, not yet computed."""

    name: str
    type: PixelType
    node: Node
    projection: Projection = DEFAULT_PROJECTION
    extent: Grid | None = None
    """The window of the projection where pixels can be; None where they can be anywhere."""

    @property
    def has_grid(self) -> bool:
        """Whether the projection says anything about the pixels."""
        return self.projection != DEFAULT_PROJECTION

    def computed(self, node: Node, type_: PixelType | None = None) -> Band:
        """The same band with other pixels, and another type where one is given."""
        return replace(self, node=node, type=type_ or self.type)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the band."""
        shown: dict[str, Any] = {"id": self.name, "data_type": self.type.as_value()}
        transform = self.projection.transform
        if self.extent is not None:
            shown["dimensions"] = [self.extent.width, self.extent.height]
            if (self.extent.col, self.extent.row) != (0, 0):
                shown["origin"] = [self.extent.col, self.extent.row]
        shown["crs" if self.projection.crs.is_code else "crs_wkt"] = self.projection.crs.text
        return {**shown, "crs_transform": list(transform)}


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Bands and properties. Every operation makes a new image.

    >>> constant(3).bands[0].type.as_value()
    {'type': 'PixelType', 'precision': 'int', 'min': 3, 'max': 3}
    """

    bands: tuple[Band, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    version: int | None = None
    footprint: Geometry | None = None

    @property
    def names(self) -> list[str]:
        """Band names in order."""
        return [band.name for band in self.bands]

    def band(self, name: str, *, function: str = "Image.select") -> Band:
        """The band of that name."""
        for band in self.bands:
            if band.name == name:
                return band
        raise no_match(self, name, function)

    def with_bands(self, bands: Iterable[Band]) -> Image:
        """The same element with other bands; names must differ."""
        chosen = tuple(bands)
        seen: set[str] = set()
        for band in chosen:
            if band.name in seen:
                existing = ", ".join(name for name in dict.fromkeys(each.name for each in chosen) if name in seen)
                raise invalid(
                    f"Image.rename: Can't add a band named '{band.name}' to image because a band with this name already "
                    f"exists. Existing bands: [{existing}]."
                )
            seen.add(band.name)
        check_bands(len(chosen))
        return replace(self, bands=chosen)

    def each(self, change: Callable[[Band], Band]) -> Image:
        """The same element with every band changed."""
        return replace(self, bands=tuple(change(band) for band in self.bands))

    def with_properties(self, properties: Mapping[str, Any]) -> Image:
        """The same image with other properties."""
        return replace(self, properties=dict(properties))

    def geometry(self) -> Geometry:
        """The footprint: of the file, or of the first band that has an end; else the whole world."""
        if self.footprint is not None:
            return self.footprint
        extent = next((band.extent for band in self.bands if band.extent is not None), None)
        if extent is None:
            return WORLD
        return outline(extent)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the image."""
        shown: dict[str, Any] = {"type": "Image", "bands": [band.as_value() for band in self.bands]}
        if self.version is not None:
            shown["version"] = self.version
        if self.id is not None:
            shown["id"] = self.id
        if self.properties:
            shown["properties"] = dict(self.properties)
        return shown


WORLD = replace(box((-180.0, -90.0, 180.0, 90.0)), unbounded=True)


def outline(extent: Grid) -> Geometry:
    """The edge of a grid in longitude and latitude; the world where the edge cannot be shown there."""
    steps = np.linspace(0.0, 1.0, OUTLINE_STEPS, endpoint=False)
    cols = np.concatenate([steps, np.ones_like(steps), 1 - steps, np.zeros_like(steps)]) * extent.width + extent.col
    rows = np.concatenate([np.zeros_like(steps), steps, np.ones_like(steps), 1 - steps]) * extent.height + extent.row
    edge = np.broadcast_arrays(*extent.projection.corners(rows, cols))
    longitudes, latitudes = convert(extent.projection.crs, WGS84, *edge)
    if not (np.isfinite(longitudes).all() and np.isfinite(latitudes).all()):
        return box(bounds_in(WGS84, extent))
    shape = shapely.Polygon(np.column_stack([longitudes, latitudes]))
    geodesic = not extent.projection.crs.is_geographic  # footprints of granules are shown without "geodesic": false
    return Geometry(shape if shape.is_valid else shapely.make_valid(shape), geodesic=geodesic)


def no_match(image: Image, selector: object, function: str) -> Exception:
    """The service's complaint about a band that is not there."""
    if not image.bands:
        guide = "See https://developers.google.com/earth-engine/guides/debugging#no-bands"
        return invalid(f"{function}: Band pattern '{selector}' was applied to an Image with no bands. {guide}")
    return invalid(
        f"{function}: Band pattern '{selector}' did not match any bands. Available bands: [{', '.join(image.names)}]"
    )


def not_named(image: Image, name: str, function: str) -> Exception:
    """The service's complaint where a band must be named, and no pattern will do."""
    return invalid(f"{function}: No band named '{name}'. Available band names: [{', '.join(image.names)}].")


def check_plain(image: Image, function: str) -> None:
    """Refuse bands of arrays where only numbers make sense."""
    for band in image.bands:
        if band.type.dimensions:
            raise invalid(
                f"{function}: Band '{band.name}' has array pixels of {band.type.dimensions} dimensions; numbers are needed. "
                "Use Image.arrayFlatten or Image.arrayGet first."
            )


def constant_band(name: str, value: float) -> Band:
    """A band with one value everywhere, valid everywhere."""
    type_ = type_of_number(value)
    raster = Raster(np.asarray(value, dtype=type_.dtype), np.asarray(1.0, dtype=np.float32))
    return Band(name, type_, Positional(lambda grid: full(raster, grid)))


def array_band(name: str, array: Array) -> Band:
    """A band with one array everywhere, valid everywhere."""
    type_, values = type_of_dtype(array.values.dtype), array.values
    if type_.precision == "int" and values.size:
        type_ = PixelType("int", int(values.min()), int(values.max()))
    cells = values.astype(type_.dtype)[..., np.newaxis, np.newaxis]
    raster = Raster(cells, np.ones((1, 1), np.float32))
    return Band(name, type_.of_arrays(array.dimensions), Positional(lambda grid: full(raster, grid)))


def full(raster: Raster, grid: Grid) -> Raster:
    """A raster of one pixel seen as one of the grid's shape."""
    return spread_raster(raster, grid.shape)


def constant(value: float, name: str = "constant") -> Image:
    """An image of one constant band."""
    return Image((constant_band(name, value),))
