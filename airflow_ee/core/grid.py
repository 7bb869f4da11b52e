"""The lattice of pixels that every request names, and the ways to come by one.

Everything that Earth Engine is asked for here has an exact grid: crs, affine transform and dimensions. A grid is given
as it is, snapped as the service snaps ``scale`` and ``crs``, or cut out of an asset's native lattice, never moved.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from airflow_ee.core.region import Region

if TYPE_CHECKING:
    import pyproj

__all__ = ["Affine6", "PixelGrid", "cut_grid", "fit_dimensions", "parse_crs", "snap_scale", "snap_transform"]

Affine6 = tuple[float, float, float, float, float, float]

MAX_SIDE = 32_768
TOLERANCE = 1e-6
"""Fraction of a pixel by which an edge may miss a pixel border and still lie on it."""
WGS84_RADIUS_METRES = 6_378_137.0

# The code that Earth Engine gives for MODIS's sinusoidal grid; PROJ does not know the authority.
MODIS_SINUSOIDAL_WKT = (
    'PROJCS["MODIS Sinusoidal",GEOGCS["Unknown datum based on the Authalic sphere",DATUM["Not specified",'
    'SPHEROID["Authalic sphere",6371007.181,0]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Sinusoidal"],PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["metre",1]]'
)
_CODES_WITHOUT_AUTHORITY = {"SR-ORG:6974": MODIS_SINUSOIDAL_WKT}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelGrid:
    """A lattice of pixels: where column 0, row 0 lies and how far each step goes.

    The origin is the outer corner of the first pixel (PixelIsArea), as in Earth Engine and GDAL.

    >>> grid = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=90, height=60)
    >>> grid.window(row=20, col=30, rows=10, cols=10).transform
    (10.0, 0.0, 500300.0, 0.0, -10.0, 3999800.0)
    """

    crs: str
    """A code such as ``EPSG:32633`` or ``SR-ORG:6974``, or WKT; sent to the service verbatim."""
    transform: Affine6
    """``(a, b, c, d, e, f)``: x = a*col + b*row + c, y = d*col + e*row + f, in units of the crs."""
    width: int
    """Pixels in a row."""
    height: int
    """Rows."""

    def __post_init__(self) -> None:
        if not (isinstance(self.crs, str) and self.crs.strip()):
            raise ValueError(f"grid: crs must be a code or WKT, got {self.crs!r}")
        if len(self.transform) != 6 or not all(math.isfinite(number) for number in self.transform):
            raise ValueError(f"grid: transform must be six finite numbers, got {self.transform}")
        # Equal grids are written as equal texts, be it into a file beside the pixels or a job for another machine.
        object.__setattr__(self, "transform", tuple(float(number) for number in self.transform))
        a, b, _, d, e, _ = self.transform
        if a * e - b * d == 0:
            raise ValueError(f"grid: transform {self.transform} has pixels without area")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a grid needs at least one pixel, got {self.width}x{self.height}")

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``, as numpy has it."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(min x, min y, max x, max y)`` of the outer corners, in units of the crs."""
        corners = [self.xy(col, row) for col in (0, self.width) for row in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def xy(self, col: float, row: float) -> tuple[float, float]:
        """Crs coordinates of a point given in pixels from the origin."""
        a, b, c, d, e, f = self.transform
        return a * col + b * row + c, d * col + e * row + f

    def window(self, *, row: int, col: int, rows: int, cols: int) -> Self:
        """The sub-grid at ``row, col``; never clipped, so an overhang is an error."""
        if min(row, col) < 0 or row + rows > self.height or col + cols > self.width:
            raise ValueError(f"window ({row}, {col}, {rows}, {cols}) leaves the grid of {self.height}x{self.width}")
        a, b, _, d, e, _ = self.transform
        x, y = self.xy(col, row)
        return replace(self, transform=(a, b, x, d, e, y), width=cols, height=rows)

    def check_sides(self, maximum: int = MAX_SIDE) -> None:
        """Refuse a grid with a side longer than one export or image may have."""
        if max(self.width, self.height) > maximum:
            raise ValueError(
                f"grid: {self.width}x{self.height} pixels, a side must not exceed {maximum}: choose a larger scale or a smaller region"
            )


@functools.lru_cache(maxsize=64)
def parse_crs(crs: str) -> pyproj.CRS:
    """The coordinate reference system behind a code or WKT, MODIS's ``SR-ORG:6974`` included.

    >>> parse_crs("SR-ORG:6974").is_projected
    True
    >>> parse_crs("EPSG:1")
    Traceback (most recent call last):
    ValueError: crs must be a code such as EPSG:4326 or WKT, got 'EPSG:1'
    """
    import pyproj

    try:
        return pyproj.CRS.from_user_input(_CODES_WITHOUT_AUTHORITY.get(crs.upper(), crs))
    except pyproj.exceptions.CRSError:
        raise ValueError(f"crs must be a code such as EPSG:4326 or WKT, got {crs[:80]!r}") from None


def snap_scale(region: Region, *, scale: float, crs: str) -> PixelGrid:
    """The grid Earth Engine makes of ``region``, ``scale`` and ``crs``.

    The origin lies a whole number of pixels from (0, 0). In a geographic crs the pixel is ``180/pi * scale / 6378137``
    degrees (seen in exports of the service).

    Parameters
    ----------
    scale
        Metres along one side of a pixel.

    Examples
    --------
    >>> snap_scale(Region.parse([10, 45, 10.01, 45.01]), scale=30, crs="EPSG:32632").transform
    (30.0, 0.0, 578790.0, 0.0, -30.0, 4984560.0)
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be above 0 metres, got {scale}")
    pixel = _pixel_size(parse_crs(crs), scale)
    return snap_transform(region, crs=crs, transform=(pixel, 0.0, 0.0, 0.0, -pixel, 0.0))


def snap_transform(region: Region, *, crs: str, transform: Affine6) -> PixelGrid:
    """The part of the endless lattice of ``transform`` that covers ``region``."""
    a, b, c, d, e, f = _axis_aligned(transform)
    first_col, first_row, last_col, last_row = _cover(region, crs, (a, b, c, d, e, f))
    origin = (a, b, a * first_col + c, d, e, e * first_row + f)
    return PixelGrid(crs=crs, transform=origin, width=last_col - first_col, height=last_row - first_row)


def fit_dimensions(region: Region, *, crs: str, dimensions: Sequence[int]) -> PixelGrid:
    """The bounding rectangle of ``region`` in ``crs``, cut into ``(width, height)`` pixels."""
    width, height = dimensions
    if width < 1 or height < 1:
        raise ValueError(f"dimensions must be at least 1x1, got {width}x{height}")
    west, south, east, north = region.project(parse_crs(crs)).bounds
    transform = ((east - west) / width, 0.0, west, 0.0, (south - north) / height, north)
    return PixelGrid(crs=crs, transform=transform, width=width, height=height)


def cut_grid(native: PixelGrid, region: Region) -> PixelGrid:
    """The window of a native grid that covers ``region``: the same lattice, not snapped again.

    Raises
    ------
    ValueError
        When the region does not touch the grid.
    """
    first_col, first_row, last_col, last_row = _cover(region, native.crs, native.transform)
    col, row = max(0, first_col), max(0, first_row)
    cols, rows = min(native.width, last_col) - col, min(native.height, last_row) - row
    if cols < 1 or rows < 1:
        raise ValueError(
            f"region {region.geometry.bounds} lies outside the image's grid, whose bounds are {native.bounds}"
        )
    return native.window(row=row, col=col, rows=rows, cols=cols)


def _pixel_size(crs: pyproj.CRS, scale: float) -> float:
    if crs.is_geographic:
        return math.degrees(scale / WGS84_RADIUS_METRES)
    return scale / float(crs.axis_info[0].unit_conversion_factor or 1.0)


def _axis_aligned(transform: Affine6) -> Affine6:
    _, b, _, d, _, _ = transform
    if b or d:
        raise ValueError(f"crs_transform {transform} is rotated or sheared: give a whole grid instead of a region")
    return transform


def _cover(region: Region, crs: str, transform: Affine6) -> tuple[int, int, int, int]:
    """First column, first row and the ones after the last that the region reaches."""
    a, _, c, _, e, f = _axis_aligned(transform)
    west, south, east, north = region.project(parse_crs(crs)).bounds
    cols = sorted(((west - c) / a, (east - c) / a))
    rows = sorted(((south - f) / e, (north - f) / e))
    return (
        math.floor(cols[0] + TOLERANCE),
        math.floor(rows[0] + TOLERANCE),
        max(math.ceil(cols[1] - TOLERANCE), math.floor(cols[0] + TOLERANCE) + 1),
        max(math.ceil(rows[1] - TOLERANCE), math.floor(rows[0] + TOLERANCE) + 1),
    )
