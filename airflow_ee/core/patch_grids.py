"""Where the pixels of a patch lie: one small grid around each point, all on one lattice of a crs.

A patch is ``width x height`` pixels with the point at its centre. With ``snap``, the default, its pixels are those of an endless lattice: that of
``scale`` and ``crs``, which has a corner at (0, 0), or an image's own. So patches that overlap share their pixels, and equal points make equal patches.
An odd side has the point in its middle pixel; an even side has its middle at the lattice corner nearest to the point, and of a point in the
middle of pixel ``i`` the patch begins at pixel ``i - side / 2``. The centre is off by half a pixel at most. Without ``snap`` the centre is the point exactly,
and pixels lie where they then lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from airflow_ee.core.grid import TOLERANCE, WGS84_RADIUS_METRES, Affine6, PixelGrid, parse_crs
from airflow_ee.core.points import Points

__all__ = ["UTM", "PatchGrids", "PatchRule", "place_patches"]

Array = npt.NDArray[Any]
UTM = "utm"
"""In place of a crs: each point's own zone of UTM on WGS 84."""
UTM_SOUTH, UTM_NORTH = -80, 84
ROUND_TRIP_PIXELS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRule:
    """How patches lie around points.

    >>> PatchRule(width=64, height=64, crs="EPSG:32633", scale=10).step("EPSG:32633")
    (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)
    """

    width: int
    """Pixels in a row."""
    height: int
    """Rows."""
    crs: str
    """A code, WKT, or :data:`UTM`."""
    scale: float | None = None
    """Metres along one side of a pixel; in degrees ``180/pi * scale / 6378137``. Or:"""
    transform: Affine6 | None = None
    """the lattice itself, such as an image's own."""
    snap: bool = True

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ValueError(f"patch_size must be at least 1 pixel, got {self.width}x{self.height}")
        if (self.scale is None) == (self.transform is None):
            raise ValueError("a patch has either a scale or a lattice of its own")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be above 0 metres, got {self.scale}")
        if self.crs != UTM:
            parse_crs(self.crs)

    def step(self, crs: str) -> Affine6:
        """The lattice in one crs."""
        if self.transform is not None:
            return self.transform
        found, scale = parse_crs(crs), float(self.scale or 0)
        unit = 1.0 if found.is_geographic else float(found.axis_info[0].unit_conversion_factor or 1.0)
        pixel = math.degrees(scale / WGS84_RADIUS_METRES) if found.is_geographic else scale / unit
        return pixel, 0.0, 0.0, 0.0, -pixel, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchGrids:
    """The grids of all patches, as arrays."""

    rule: PatchRule
    codes: tuple[str, ...]
    """Every crs that is used."""
    code: Array
    """Index into ``codes``, one a point."""
    columns: Array
    """First column of each patch on the lattice, in pixels from its origin; whole numbers where the rule snaps."""
    rows: Array
    """First row, likewise."""

    def __len__(self) -> int:
        return len(self.columns)

    def crs(self, index: int) -> str:
        """The crs of a point's patch."""
        return self.codes[int(self.code[index])]

    def grid(self, index: int) -> PixelGrid:
        """The grid of a point's patch."""
        return self.window(
            index, float(self.columns[index]), float(self.rows[index]), self.rule.width, self.rule.height
        )

    def window(self, index: int, column: float, row: float, width: int, height: int) -> PixelGrid:
        """Any other rectangle on the lattice of a point's patch."""
        crs = self.crs(index)
        a, b, c, d, e, f = self.rule.step(crs)
        origin = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
        return PixelGrid(crs=crs, transform=origin, width=width, height=height)


def place_patches(points: Points, rule: PatchRule) -> PatchGrids:
    """The grids of patches around all points.

    Raises
    ------
    ValueError
        The first point whose patch has no place in the crs, by its row.

    Examples
    --------
    >>> points = Points(longitudes=np.array([15.0]), latitudes=np.array([0.00004]))
    >>> place_patches(points, PatchRule(width=3, height=3, crs="EPSG:32633", scale=10)).grid(0).transform
    (10.0, 0.0, 499990.0, 0.0, -10.0, 20.0)
    """
    codes, code = _zones(points) if rule.crs == UTM else ((rule.crs,), np.zeros(len(points), np.intp))
    columns, rows = np.empty(len(points)), np.empty(len(points))
    for number, crs in enumerate(codes):
        chosen = np.flatnonzero(code == number)
        columns[chosen], rows[chosen] = _place(points, chosen, rule, crs)
    return PatchGrids(rule=rule, codes=codes, code=code, columns=columns, rows=rows)


def _zones(points: Points) -> tuple[tuple[str, ...], Array]:
    """UTM zones by longitude alone, six degrees each from 180 west; without the exceptions for Norway and Svalbard."""
    outside = np.flatnonzero((points.latitudes < UTM_SOUTH) | (points.latitudes > UTM_NORTH))
    if len(outside):
        latitude = float(points.latitudes[outside[0]])
        raise ValueError(
            f"points: row {outside[0] + 1}, latitude {latitude} lies in no UTM zone ({UTM_SOUTH}..{UTM_NORTH}); give a polar crs"
        )
    zone = np.minimum((points.longitudes + 180) // 6, 59).astype(int) + 1
    numbers, code = np.unique(np.where(points.latitudes < 0, 32700, 32600) + zone, return_inverse=True)
    return tuple(f"EPSG:{number}" for number in numbers), code


def _place(points: Points, chosen: Array, rule: PatchRule, crs: str) -> tuple[Array, Array]:
    """First columns and rows of the chosen points' patches."""
    transformer = pyproj.Transformer.from_crs("EPSG:4326", parse_crs(crs), always_xy=True)
    x, y = (np.asarray(part) for part in transformer.transform(points.longitudes[chosen], points.latitudes[chosen]))
    _refuse(chosen, ~(np.isfinite(x) & np.isfinite(y)), f"the point has no place in {crs[:80]}")
    a, b, c, d, e, f = rule.step(crs)
    area = a * e - b * d
    columns = (e * (x - c) - b * (y - f)) / area - rule.width / 2
    rows = (a * (y - f) - d * (x - c)) / area - rule.height / 2
    if rule.snap:
        columns, rows = _snapped(columns, rule.width), _snapped(rows, rule.height)
    lost = np.zeros(len(chosen), bool)
    for across in (0, rule.width):
        for down in (0, rule.height):
            lost |= _off_the_world(transformer, columns + across, rows + down, rule.step(crs))
    _refuse(chosen, lost, f"its patch leaves the world of {crs[:80]}: choose another crs, or leave the point out")
    return columns, rows


def _snapped(firsts: Array, side: int) -> Array:
    """The nearest whole numbers. Points are often the middles of pixels, where rounding would let the noise of a projection choose."""
    return np.asarray(np.floor(firsts + 0.5 + (TOLERANCE if side % 2 else -TOLERANCE)))


def _off_the_world(transformer: pyproj.Transformer, columns: Array, rows: Array, step: Affine6) -> Array:
    """Which corners of patches are no place on the earth: what a projection gives for them leads back elsewhere."""
    a, b, c, d, e, f = step
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    longitudes, latitudes = transformer.transform(x, y, direction="INVERSE")
    again_x, again_y = transformer.transform(longitudes, latitudes)
    pixel = math.sqrt(abs(a * e - b * d))
    away = np.hypot(np.asarray(again_x) - x, np.asarray(again_y) - y)
    # In degrees nothing is projected, so nothing leads elsewhere.
    beyond = (np.abs(longitudes) > 180) | (np.abs(latitudes) > 90)
    return np.asarray(~(away < ROUND_TRIP_PIXELS * pixel) | beyond)


def _refuse(chosen: Array, bad: Array, words: str) -> None:
    if bad.any():
        raise ValueError(f"points: row {chosen[np.flatnonzero(bad)[0]] + 1}, {words}")
