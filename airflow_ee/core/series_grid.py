"""The one grid of a series, for one region or many, and what is lost or gained by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_ee.core.grid import PixelGrid, parse_crs, snap_transform
from airflow_ee.core.grid_choice import choose_grid
from airflow_ee.core.presets import NativeGrid, Preset
from airflow_ee.core.region import Region
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.resources import Asset

__all__ = ["area_of", "join_grids", "resolution_warning", "series_grid", "utm_crs"]

COARSER = 1.5
"""Pixels so many times as long as the native ones come from the image pyramid."""
FINER = 0.9
TOLERANCE = 1e-6
FALSE_NORTHING_METRES = 10_000_000.0


def series_grid(
    *,
    grid: PixelGrid | Mapping[str, Any] | str | None,
    scale: float | str | None,
    crs: str | None,
    from_asset: Asset | None,
    images: Sequence[Asset],
    band: str,
    pixel_metres: float | None,
    preset: Preset | None,
    regions: Sequence[NamedRegion],
) -> PixelGrid:
    """The grid that all images of a series are fetched on.

    ``grid`` as it is; or ``from_asset``'s native grid; or ``scale`` with ``crs``, which is, when left out, the collection's
    own, or the UTM zone of the middle of the regions where each image has the crs of its own zone. None of these: the
    collection's native grid, in that same zone; it does not depend on which images a run finds.

    Parameters
    ----------
    band
        Whose native grid counts.
    pixel_metres
        Side of its pixels, where the preset knows.

    Raises
    ------
    ValueError
        When the arguments contradict each other, or images have different grids and nothing says which to take.
    """
    native = None
    if from_asset is not None:
        native = from_asset.bands[0].grid if from_asset.bands else None
    elif scale not in (None, ""):
        crs = crs or _own_crs(preset, images, band, regions)
    elif grid in (None, "") and not crs:
        lattice = _zone_lattice(preset, pixel_metres, images, band, regions)
        if lattice is not None:
            return lattice
        native = _one_native_grid(images, band)
    return join_grids(
        [_choose(item, grid=grid, region=item.region, scale=scale, crs=crs, native=native) for item in regions]
    )


def join_grids(grids: Sequence[PixelGrid]) -> PixelGrid:
    """The smallest grid that covers grids of one lattice.

    >>> one = PixelGrid(crs="EPSG:32633", transform=(10, 0, 500000, 0, -10, 4000000), width=2, height=3)
    >>> two = PixelGrid(crs="EPSG:32633", transform=(10, 0, 500050, 0, -10, 4000020), width=1, height=1)
    >>> joined = join_grids([one, two])
    >>> joined.transform[2], joined.transform[5], joined.width, joined.height
    (500000.0, 4000020.0, 6, 5)
    """
    first = grids[0]
    if all(grid == first for grid in grids):
        return first
    a, b, c, d, e, f = first.transform
    starts = [(round((grid.transform[2] - c) / a), round((grid.transform[5] - f) / e)) for grid in grids]
    left, top = min(grids, key=lambda grid: grid.transform[2] / a), min(grids, key=lambda grid: grid.transform[5] / e)
    first_col, first_row = min(col for col, _ in starts), min(row for _, row in starts)
    width = max(col + grid.width for (col, _), grid in zip(starts, grids, strict=True)) - first_col
    height = max(row + grid.height for (_, row), grid in zip(starts, grids, strict=True)) - first_row
    return replace(
        first, transform=(a, b, left.transform[2], d, e, top.transform[5]), width=width, height=height
    )  # fmt: skip


def utm_crs(longitude: float, latitude: float, *, north_only: bool = False) -> str:
    """The UTM zone of a place; the exceptions around Norway and Svalbard are not made.

    >>> utm_crs(-55.5, -12), utm_crs(-55.5, -12, north_only=True)
    ('EPSG:32721', 'EPSG:32621')
    """
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return f"EPSG:{(326 if north_only or latitude >= 0 else 327) * 100 + zone}"


def resolution_warning(grid: PixelGrid, native: PixelGrid | None, band: str) -> str | None:
    """What a user should know of a grid that is coarser or finer than the band's own; None: nothing."""
    if native is None:
        return None
    factor = _pixel_metres(grid) / _pixel_metres(native)
    if factor > COARSER:
        return (
            f"pixels of {band} are {factor:.1f} times as long as the native ones: Earth Engine takes them from its pyramid, "
            "means of digital numbers that were made before any mask (of quality bands: one of the pixels). Use the native "
            "grid, or an expression with reduceResolution and EarthEngineComputePixelsOperator"
        )
    if factor < FINER:
        return f"pixels of {band} are {factor:.2f} times as long as the native ones: the nearest is repeated, nothing is gained"
    return None


def area_of(regions: Sequence[NamedRegion]) -> Region | None:
    """One region around all, for queries; None when one of them is the whole grid."""
    found = [item.region for item in regions]
    if any(region is None for region in found):
        return None
    if len(found) == 1:
        return found[0]
    bounds = [region.geometry.bounds for region in found if region is not None]
    west, south, east, north = zip(*bounds, strict=True)
    return Region.parse([min(west), min(south), max(east), max(north)])


def _choose(item: NamedRegion, **arguments: Any) -> PixelGrid:
    try:
        return choose_grid(**arguments)
    except ValueError as problem:
        if item.region is None or "region" not in str(problem):
            raise
        raise ValueError(f"{problem} (region {item.id})") from None


def _own_crs(preset: Preset | None, images: Sequence[Asset], band: str, regions: Sequence[NamedRegion]) -> str | None:
    """The crs for a scale without one."""
    if preset is not None:
        return _zone_crs(preset.native, regions)
    found = {grid.crs for image in images if (grid := image.band(band).grid) is not None}
    if len(found) > 1:
        raise ValueError(f"scale needs a crs: the images have several, {', '.join(sorted(found)[:5])}")
    return found.pop() if found else None


def _zone_crs(native: NativeGrid, regions: Sequence[NamedRegion]) -> str:
    if native.crs not in {"UTM", "UTM north"}:
        return native.crs
    bounds = [item.region.geometry.bounds for item in regions if item.region is not None]
    if not bounds:
        raise ValueError("scale needs a region, or a crs: each image of this collection has the UTM zone of its own")
    west, south, east, north = (
        pick(edges) for pick, edges in zip((min, min, max, max), zip(*bounds, strict=True), strict=True)
    )
    return utm_crs((west + east) / 2, (south + north) / 2, north_only=native.crs == "UTM north")


def _zone_lattice(
    preset: Preset | None,
    pixel_metres: float | None,
    images: Sequence[Asset],
    band: str,
    regions: Sequence[NamedRegion],
) -> PixelGrid | None:
    """The native lattice in the zone of the regions, for collections in UTM; None where images lie on another one."""
    if preset is None or preset.native.crs not in {"UTM", "UTM north"} or any(item.region is None for item in regions):
        return None
    pixel = pixel_metres or preset.native.pixel_metres
    origin = preset.native.origin_metres
    if not all(_on_lattice(image.band(band).grid, pixel, origin) for image in images):
        return None
    crs = _zone_crs(preset.native, regions)
    transform = (pixel, 0.0, origin, 0.0, -pixel, _northing_origin(crs, pixel, origin))
    return join_grids(
        [snap_transform(item.region, crs=crs, transform=transform) for item in regions if item.region is not None]
    )


def _on_lattice(grid: PixelGrid | None, pixel: float, origin: float) -> bool:
    if grid is None:
        return False
    a, b, c, d, e, f = grid.transform
    edges = ((c, origin), (f, _northing_origin(grid.crs, pixel, origin)))
    apart = (((edge - start) / pixel + 0.5) % 1 - 0.5 for edge, start in edges)
    return (a, b, d, e) == (pixel, 0, 0, -pixel) and all(abs(part) < TOLERANCE for part in apart)


def _northing_origin(crs: str, pixel: float, origin: float) -> float:
    """Pixels are counted from the equator, whose northing is 10,000 km in southern zones: no multiple of 60 m."""
    return origin + (FALSE_NORTHING_METRES % pixel if crs.startswith("EPSG:327") else 0.0)


def _one_native_grid(images: Sequence[Asset], band: str) -> PixelGrid | None:
    """The grid that all images share; a series on the grid of whichever image came first would not be one."""
    first = images[0].band(band).grid
    for image in images:
        if image.band(band).grid != first:
            raise ValueError(
                f"grid: {image.id} and {images[0].id} have different native grids; give grid, grid_from_asset, or scale and crs"
            )
    return first


def _pixel_metres(grid: PixelGrid) -> float:
    """Side of a square as large as a pixel; in degrees at the equator."""
    a, b, _, d, e, _ = grid.transform
    side = math.sqrt(abs(a * e - b * d))
    crs = parse_crs(grid.crs)
    if crs.is_geographic:
        return math.radians(side) * 6_378_137.0
    return side * float(crs.axis_info[0].unit_conversion_factor or 1.0)
