"""Many images to one, many bands to one, many pixels to numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.promote import as_collection, registry
from airflow_ee.emulator.functions.spatial import resolved
from airflow_ee.emulator.pixels.grid import Grid, Projection, grid_over
from airflow_ee.emulator.pixels.raster import BLOCK_SIDE, Node, Pointwise, Raster, answer
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.reducers import SIMPLE, Output, Reducer, combined_type, percentiles

LEAST_COVERAGE = 0.005
"""Weighted reducers leave out pixels of which the region covers less than half a percent."""


def _maker(name: str) -> Callable[[], Reducer]:
    def make() -> Reducer:
        return SIMPLE[name]

    return make


def _histogram_maker(name: str) -> Callable[..., Reducer]:
    def make(
        max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
        min_bucket_width: float | None = None,  # noqa: ARG001
        max_raw: int | None = None,  # noqa: ARG001
    ) -> Reducer:
        return SIMPLE[name]

    return make


def _extreme_maker(name: str) -> Callable[..., Reducer]:
    def make(num_inputs: int = 1) -> Reducer:
        if num_inputs != 1:
            raise invalid(f"Reducer.{name}: only one input is emulated.")
        return SIMPLE[name]

    return make


_MAKERS = {"median": _histogram_maker, "mode": _histogram_maker, "min": _extreme_maker, "max": _extreme_maker}
for _name in SIMPLE:
    registry.add(f"Reducer.{_name}", _MAKERS.get(_name, _maker)(_name))


@registry.implements("Reducer.percentile")
def percentile(
    percentiles_: list[Any],
    output_names: list[Any] | None = None,
    max_buckets: int | None = None,  # noqa: ARG001 -- no histogram is made: every value is kept
    min_bucket_width: float | None = None,  # noqa: ARG001
    max_raw: int | None = None,  # noqa: ARG001
) -> Reducer:
    """Percentiles from 0 to 100."""
    return percentiles([float(each) for each in percentiles_], output_names)


@registry.implements("Reducer.combine")
def combine(reducer1: Reducer, reducer2: Reducer, output_prefix: str = "", shared_inputs: bool = False) -> Reducer:
    """The results of two reducers side by side."""
    if not shared_inputs:
        raise invalid("Reducer.combine: only sharedInputs=true is emulated.")
    second = tuple(replace(output, name=output_prefix + output.name) for output in reducer2.outputs)
    return Reducer(reducer1.outputs + second)


@registry.implements("Reducer.unweighted")
def unweighted(reducer: Reducer) -> Reducer:
    """The same without weights."""
    return reducer.unweighted()


@registry.implements("Reducer.setOutputs")
def set_outputs(reducer: Reducer, outputs: list[Any]) -> Reducer:
    """The same under other names."""
    return reducer.renamed(outputs)


@registry.implements("Reducer.getOutputs")
def get_outputs(reducer: Reducer) -> list[str]:
    """Names of the results."""
    return reducer.names


def stack(collection: Collection) -> dict[str, list[Band]]:
    """The bands of all the images by name, in the order in which the names appear first."""
    bands: dict[str, list[Band]] = {}
    for image in collection.elements:
        for band in image.bands:
            bands.setdefault(band.name, []).append(band)
    return bands


def reduced(name: str, bands: Sequence[Band], output: Output) -> Band:
    """One band from many; it has no projection of its own."""
    type_ = output.type_for(combined_type([band.type for band in bands]), len(bands))

    def change(*rasters: Raster) -> Raster:
        values = np.stack([raster.values for raster in rasters]).astype(np.float64)
        weights = output.weights(np.stack([raster.mask for raster in rasters]).astype(np.float64))
        known = (weights > 0).any(axis=0)
        results = np.where(known, output.reduce(values, weights), output.empty or 0.0)
        valid = known if output.empty is None else np.ones_like(known)
        mask = np.asarray(valid, dtype=np.float32)
        return settled(np.where(valid, results, 0.0), mask, type_)

    return Band(name, type_, Pointwise(change, *(band.node for band in bands)))


def _reduce_by(kind: str) -> Callable[[Collection], Image]:
    output = SIMPLE[kind].outputs[0]

    def apply(collection: Collection) -> Image:
        return Image(tuple(reduced(name, bands, output) for name, bands in stack(collection).items()))

    return apply


for _algorithm, _kind in {
    "mean": "mean", "median": "median", "min": "min", "max": "max", "sum": "sum", "count": "count", "mode": "mode",
    "product": "product", "and": "allNonZero", "or": "anyNonZero",
}.items():  # fmt: skip
    registry.add(f"reduce.{_algorithm}", _reduce_by(_kind))


@registry.implements("ImageCollection.reduce")
def reduce_collection(collection: Collection, reducer: Reducer, parallel_scale: float = 1) -> Image:  # noqa: ARG001
    """Bands ``<band>_<result>``."""
    bands = [
        reduced(f"{name}_{output.name}", bands, output)
        for name, bands in stack(collection).items()
        for output in reducer.outputs
    ]
    return Image((), {}).with_bands(bands)


@registry.implements("Image.reduce")
def reduce_bands(image: Image, reducer: Reducer) -> Image:
    """All bands to one of each result."""
    bands = [_in_place(reduced(output.name, image.bands, output), image.bands[0]) for output in reducer.outputs]
    return image.with_bands(bands)


def _in_place(band: Band, base: Band) -> Band:
    return replace(band, projection=base.projection, extent=base.extent)


@registry.implements("ImageCollection.mosaic")
def mosaic(collection: Collection) -> Image:
    """The last image on top, wherever it is not masked."""
    output = SIMPLE["last"].outputs[0]
    return Image(tuple(_layered(name, bands, output) for name, bands in stack(collection).items()))


def _layered(name: str, bands: Sequence[Band], output: Output) -> Band:
    type_ = output.type_for(combined_type([band.type for band in bands]), len(bands))

    def change(*rasters: Raster) -> Raster:
        values, mask = rasters[0].values.astype(type_.dtype), rasters[0].mask
        for raster in rasters[1:]:
            shown = raster.mask > 0
            values, mask = (
                np.where(shown, raster.values.astype(type_.dtype), values),
                np.where(shown, raster.mask, mask),
            )
        return Raster(values, mask)

    return Band(name, type_, Pointwise(change, *(band.node for band in bands)))


@registry.implements("ImageCollection.qualityMosaic")
def quality_mosaic(collection: Collection, quality_band: str) -> Image:
    """All bands of the image whose quality is the highest at the pixel."""
    images = collection.elements
    qualities = [image.band(quality_band, function="ImageCollection.qualityMosaic").node for image in images]

    def best(name: str) -> Band:
        bands = [image.band(name, function="ImageCollection.qualityMosaic") for image in images]
        type_ = combined_type([band.type for band in bands])

        def change(*rasters: Raster) -> Raster:
            quality, content = rasters[: len(images)], rasters[len(images) :]
            scores = np.stack([np.where(each.mask > 0, each.values.astype(np.float64), -np.inf) for each in quality])
            chosen = scores.argmax(axis=0)[None]
            values = np.take_along_axis(np.stack([each.values for each in content]), chosen, 0)[0]
            mask = np.take_along_axis(np.stack([each.mask for each in content]), chosen, 0)[0]
            return settled(values, mask * np.isfinite(scores.max(axis=0)), type_)

        return Band(name, type_, Pointwise(change, *qualities, *(band.node for band in bands)))

    return Image(tuple(best(name) for name in images[0].names)) if images else Image(())


@registry.implements("Image.reduceRegion")
def reduce_region(
    image: Image,
    reducer: Reducer,
    geometry: Geometry | None = None,
    scale: float | None = None,
    crs: Projection | None = None,
    crs_transform: list[Any] | None = None,
    best_effort: bool = False,
    max_pixels: float = 10_000_000,
    tile_scale: float = 1,  # noqa: ARG001 -- memory is bounded anyway
) -> dict[str, Any]:
    """The results of each band over a region, by band name, or by ``<band>_<result>`` where there are several."""
    if not image.bands:
        raise invalid("Image.reduceRegion: Image has no bands.")
    shape = geometry or image.geometry()
    projection = resolved(crs or image.bands[0].projection, crs_transform, scale, "Image.reduceRegion")
    grid = _region_grid(projection, shape, best_effort=best_effort, max_pixels=max_pixels)
    samples = region_samples([band.node for band in image.bands], grid, shape)
    results: dict[str, Any] = {}
    for band, sample in zip(image.bands, samples, strict=True):
        for name, value in _results(reducer, *sample).items():
            results[band.name if len(reducer.outputs) == 1 else f"{band.name}_{name}"] = value
    return results


Samples = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
"""Values, weights (the lesser of mask and coverage), and whether the centre lies in the region."""


def _results(reducer: Reducer, values: Any, weights: Any, centred: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for output in reducer.outputs:
        used = np.where(weights >= LEAST_COVERAGE, weights, 0.0) if output.weighted else centred * (weights > 0)
        single = Reducer((output,))
        kept = used > 0
        found |= single.of_values(values[kept], used[kept].astype(np.float64))
    return found


def _region_grid(projection: Projection, shape: Geometry, *, best_effort: bool, max_pixels: float) -> Grid:
    grid = grid_over(projection, shape.bounds_in(projection.crs))
    pixels = grid.width * grid.height
    if pixels <= max_pixels:
        return grid
    if not best_effort:
        advice = (
            "Ensure that you are not aggregating at a higher resolution than you intended; that is the most frequent cause "
            "of this error. If not, then you may set the 'maxPixels' argument to a limit suitable for your computation; set "
            "'bestEffort' to true to aggregate at whatever scale results in 'maxPixels' total pixels or less."
        )
        found = f"Found {pixels}, but maxPixels allows only {round(max_pixels)}."
        raise invalid(f"Image.reduceRegion: Too many pixels in the region. {found}\n{advice}")
    factor = np.sqrt(pixels / max_pixels) * 1.01
    a, b, c, d, e, f = projection.transform
    coarser = Projection(projection.crs, (a * factor, b * factor, c, d * factor, e * factor, f))
    return grid_over(coarser, shape.bounds_in(projection.crs))


def region_samples(nodes: Sequence[Node], grid: Grid, shape: Geometry) -> list[Samples]:
    """For each node the pixels that the region touches, block by block."""
    found: list[list[Samples]] = [[] for _ in nodes]
    for block in grid.blocks(BLOCK_SIDE):
        cover = coverage(block, shape)
        touched = cover > 0
        if not touched.any():
            continue
        centred = _centred(block, shape)[touched]
        for part, raster in zip(found, answer(nodes, block), strict=True):
            weights = np.minimum(np.broadcast_to(raster.mask, block.shape)[touched], cover[touched])
            values = np.broadcast_to(raster.values, block.shape)[touched]
            part.append((values.astype(np.float64), weights.astype(np.float64), centred))
    return [_joined(parts) for parts in found]


def _joined(parts: Sequence[Samples]) -> Samples:
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.bool_)
    values, weights, centred = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(weights), np.concatenate(centred)


def _centred(grid: Grid, shape: Geometry) -> NDArray[np.bool_]:
    region = shape.in_crs(grid.projection.crs)
    if region.area == 0:  # a point or a line: the pixels that it touches
        return coverage(grid, shape) > 0
    return shape.contains(*grid.centres(), grid.projection.crs)


def coverage(grid: Grid, shape: Geometry) -> NDArray[np.float64]:
    """The fraction of each pixel that a region covers; 1 for what a point or line touches."""
    region = shape.in_crs(grid.projection.crs)
    shapely.prepare(region)
    whole = shapely.box(*grid.bounds)
    if not region.intersects(whole):
        return np.zeros(grid.shape)
    if region.contains(whole):
        return np.ones(grid.shape)
    pixels = _outlines(grid)
    touched = shapely.intersects(region, pixels)
    if region.area == 0:
        return _owned(grid, region) if region.geom_type == "Point" else touched.astype(np.float64)
    cover = np.zeros(grid.shape)
    cover[touched] = 1.0
    partly = touched & ~shapely.contains_properly(region, pixels)
    cover[partly] = shapely.area(shapely.intersection(region, pixels[partly])) / abs(grid.projection.determinant)
    return np.clip(cover, 0.0, 1.0)


def _owned(grid: Grid, point: Any) -> NDArray[np.float64]:
    """A point on an edge belongs to one pixel only."""
    at = grid.projection.positions(np.array(point.x), np.array(point.y))
    row, col = int(np.floor(at.rows)) - grid.row, int(np.floor(at.cols)) - grid.col
    cover = np.zeros(grid.shape)
    if 0 <= row < grid.height and 0 <= col < grid.width:
        cover[row, col] = 1.0
    return cover


def _outlines(grid: Grid) -> Any:
    rows = np.arange(grid.row, grid.row + grid.height + 1, dtype=np.float64)[:, None]
    cols = np.arange(grid.col, grid.col + grid.width + 1, dtype=np.float64)[None, :]
    x, y = np.broadcast_arrays(*grid.projection.corners(rows, cols))
    corners = [
        (slice(None, -1), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)),
        (slice(1, None), slice(None, -1)),
    ]
    rings = np.stack([np.stack([x[at], y[at]], axis=-1) for at in corners], axis=2)
    return shapely.polygons(rings)


@registry.implements("ImageCollection.toBands")
def to_bands(collection: Collection) -> Image:
    """Every band of every image, prefixed with the image's index."""
    bands = [
        replace(band, name=f"{image.properties.get('system:index', number)}_{band.name}")
        for number, image in enumerate(collection.elements)
        for band in image.bands
    ]
    return Image((), {}).with_bands(bands)


@registry.implements("ImageCollection.fromImages")
def from_images(images: Any) -> Collection:
    """A collection of images; those without an index are numbered."""
    collection: Collection = as_collection(images)
    numbered = [
        image if "system:index" in image.properties else _indexed(image, number)
        for number, image in enumerate(collection.elements)
    ]
    return Collection(numbered, of_images=True)


def _indexed(image: Image, number: int) -> Image:
    if not isinstance(image, Image):
        raise invalid("ImageCollection.fromImages: every element must be an image.")
    return image.with_properties({**image.properties, "system:index": str(number)})
