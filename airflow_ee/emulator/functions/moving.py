"""Images moved: by metres or pixels, and from one projection's coordinates to another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.pixels.grid import Affine6, Grid, Projection
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster, Reprojected
from airflow_ee.emulator.values.image import Band, Image


def _after(second: Affine6, first: Affine6) -> Affine6:
    """One transform after another."""
    a, b, c, d, e, f = second
    g, h, i, j, k, m = first
    return (a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f)


def _inverse(transform: Affine6) -> Affine6:
    a, b, c, d, e, f = transform
    size = a * e - b * d
    return (e / size, -b / size, (b * f - e * c) / size, -d / size, a / size, (d * c - a * f) / size)


def _carried(lattice: Projection, source: Projection, target: Projection) -> Projection:
    """A lattice of the source's system where it comes to lie when pixel positions of the source become those of the target."""
    return Projection(target.crs, _after(_after(target.transform, _inverse(source.transform)), lattice.transform))


class _Carried(Node):
    """A node whose pixels have been carried from one projection to another."""

    def __init__(self, node: Node, source: Projection, target: Projection) -> None:
        self._node = node
        self._source = source
        self._target = target

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels came from; in another system than the target's, by way of the target's."""
        if grid.projection.crs == self._target.crs:
            return ((self._node, replace(grid, projection=_carried(grid.projection, self._target, self._source))),)
        lattice = self._target.at_scale(grid.projection.nominal_scale)
        return ((Reprojected(self, lattice), grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- the pixels are known
        """The pixels as they were."""
        return inputs[0]


@of_numbers("Image.changeProj")
def change_projection(input: Image, src_proj: Projection, dst_proj: Projection) -> Image:
    """Every pixel at the same position of another projection: its transform counts."""

    def moved(band: Band) -> Band:
        node = _Carried(band.node, src_proj, dst_proj)
        if band.projection.crs != src_proj.crs or not band.has_grid:
            return replace(band, node=node, projection=dst_proj, extent=None)
        lattice = _carried(band.projection, src_proj, dst_proj)
        extent = None if band.extent is None else replace(band.extent, projection=lattice)
        return replace(band, node=node, projection=lattice, extent=extent)

    return replace(input.each(moved), footprint=None)


@of_numbers("Image.translate")
def translate(input: Image, x: float, y: float, units: str = "meters", proj: Projection | None = None) -> Image:
    """The image moved along the projection's axes: in metres, or in its pixels, whose rows count downwards."""
    if units not in ("meters", "pixels"):
        raise invalid(f"Image.translate: Unknown units '{units}'; use 'meters' or 'pixels'.")
    if not input.bands:
        return input
    source = proj or input.bands[0].projection
    a, b, c, d, e, f = source.transform
    if units == "pixels":
        right, up = a * x + b * y, d * x + e * y
    else:
        right, up = x / source.crs.metres_per_unit, y / source.crs.metres_per_unit
    moved = change_projection(input, source, Projection(source.crs, (a, b, c + right, d, e, f + up)))
    bands = zip(moved.bands, input.bands, strict=True)
    return moved.with_bands(new if old.has_grid else replace(new, projection=old.projection) for new, old in bands)
