"""Pixels as features: samples of an image, of its regions, and of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_whole, registry, texts
from airflow_ee.emulator.functions.regions import (
    MAX_KEPT,
    Patch,
    bounded,
    centres_of,
    check_tile_scale,
    patches,
    samples,
    shape_of,
    working_projection,
)
from airflow_ee.emulator.pixels.grid import Projection, grid_over
from airflow_ee.emulator.values import chance
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image, check_plain
from airflow_ee.emulator.values.reducers.column import as_items, together


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Pixels of an image, one a row: the place on the lattice, and each band's value and whether it is masked."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: list[NDArray[Any]]
    known: list[NDArray[np.bool_]]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Pixels that no band masks."""
        return np.asarray(np.logical_and.reduce(self.known))

    def take(self, kept: NDArray[Any]) -> Table:
        """Some pixels, by number or by whether they are kept."""
        picked = ([each[kept] for each in self.values], [each[kept] for each in self.known])
        return Table(self.rows[kept], self.cols[kept], *picked)

    def chances(self, seed: int) -> NDArray[np.float64]:
        """A number from 0 to 1 that belongs to each pixel."""
        return chance.of_places(self.rows, self.cols, seed)

    def properties(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A dictionary for each pixel; masked bands are null."""
        bands = [
            [value if valid else None for value, valid in zip(as_items(values), known.tolist(), strict=True)]
            for values, known in zip(self.values, self.known, strict=True)
        ]
        for row in zip(*bands, strict=True):
            yield dict(zip(names, row, strict=True))

    def points(self, projection: Projection) -> list[Geometry]:
        """The pixel centres in longitude and latitude."""
        places = np.column_stack(centres_of(projection, self.rows, self.cols))
        return [Geometry(shapely.Point(place), planar_point=True) for place in places]


def share_of(count: int, shape: Geometry, projection: Projection, seed: int) -> float:
    """The factor with which :func:`pixels_of` keeps so many pixels of a region, found without computing any."""
    grid = grid_over(projection, shape.bounds_in(projection.crs))
    drawn = [_chances(patch.where(patch.centred), seed) for patch in patches(grid, shape)]
    chances = np.concatenate(drawn) if drawn else np.zeros(0)
    return 1.0 if len(chances) <= count else float(np.partition(chances, count)[count])


def _chances(patch: Patch, seed: int) -> NDArray[np.float64]:
    return chance.of_places(patch.lattice_rows, patch.lattice_cols, seed)


def pixels_of(image: Image, shape: Geometry, projection: Projection, factor: float = 1.0, seed: int = 0) -> Table:
    """The pixels whose centre lies in a region, in row-major order; of a factor below 1, that share of them."""
    parts: list[Table] = []
    kept = 0
    for patch in patches(grid_over(projection, shape.bounds_in(projection.crs)), shape):
        part = _table(image, _thinned(patch.where(patch.centred), factor, seed))
        kept += len(part.rows) * len(image.bands)
        if kept > MAX_KEPT:
            raise invalid("User memory limit exceeded.")
        parts.append(part)
    whole = _joined(parts, len(image.bands))
    return whole.take(np.lexsort((whole.cols, whole.rows)))


def _thinned(patch: Patch, factor: float, seed: int) -> Patch:
    if factor >= 1:
        return patch
    return patch.where(_chances(patch, seed) < factor)


def _table(image: Image, patch: Patch) -> Table:
    found = samples([band.node for band in image.bands], patch) if patch.rows.size else []
    values = [each.values for each in found] or [np.zeros(0)] * len(image.bands)
    known = [each.mask > 0 for each in found] or [np.zeros(0, np.bool_)] * len(image.bands)
    return Table(patch.lattice_rows, patch.lattice_cols, values, known)


def _joined(parts: Sequence[Table], bands: int) -> Table:
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Table(nothing, nothing, [np.zeros(0)] * bands, [np.zeros(0, np.bool_)] * bands)
    values = [together([part.values[band] for part in parts]) for band in range(bands)]
    known = [np.concatenate([part.known[band] for part in parts]) for band in range(bands)]
    return Table(
        np.concatenate([part.rows for part in parts]), np.concatenate([part.cols for part in parts]), values, known
    )


def _features(table: Table, image: Image, projection: Projection, *, geometries: bool) -> list[Feature]:
    points: Sequence[Geometry | None] = table.points(projection) if geometries else [None] * len(table.rows)
    pairs = zip(points, table.properties(image.names), strict=True)
    return [Feature(point, properties, str(number)) for number, (point, properties) in enumerate(pairs)]


@registry.implements("Image.sample")
def sample(
    image: Image,
    region: Geometry | None = None,
    scale: float | None = None,
    projection: Projection | None = None,
    factor: float | None = None,
    num_pixels: float | None = None,
    seed: int = 0,
    drop_nulls: bool = True,
    tile_scale: float = 1,
    geometries: bool = False,
) -> Collection:
    """A feature for each pixel of a region, or for some of them: exactly ``numPixels`` where there are as many."""
    function = "Image.sample"
    check_tile_scale(tile_scale, function)
    if factor is not None and num_pixels is not None:
        raise invalid(f"{function}: 'factor' and 'numPixels' cannot both be specified.")
    if factor is not None and not 0 < factor <= 1:
        raise invalid(f"{function}: 'factor' must be in (0, 1], got {factor:g}.")
    lattice = working_projection(image, scale, projection, None, function)
    shape = bounded(region, image, function)
    share = share_of(max(int(num_pixels), 0), shape, lattice, seed) if num_pixels is not None else factor or 1.0
    table = pixels_of(image, shape, lattice, share, seed)
    if drop_nulls:
        table = table.take(table.complete)
    return _sampled(_features(table, image, lattice, geometries=geometries), image)


def _sampled(features: list[Feature], image: Image) -> Collection:
    """The features, in a collection that tells the order of the bands."""
    return Collection(features, properties={"band_order": list(image.names)})


def _least(chances: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The places of the smallest numbers, in the order of the places."""
    return np.sort(np.argsort(chances, kind="stable")[: max(count, 0)])


@registry.implements("Image.sampleRegions")
def sample_regions(
    image: Image,
    collection: Collection,
    properties: list[Any] | None = None,
    scale: float | None = None,
    projection: Projection | None = None,
    tile_scale: float = 1,
    geometries: bool = False,
) -> Collection:
    """A feature for each pixel of each region that no band masks, with properties of the region."""
    function = "Image.sampleRegions"
    check_tile_scale(tile_scale, function)
    lattice = working_projection(image, scale, projection, None, function)
    found: list[Feature] = []
    for number, feature in enumerate(collection.elements):
        table = pixels_of(image, shape_of(feature, function), lattice)
        copied = _copied(feature, properties)
        index = feature.properties.get("system:index", feature.id if feature.id is not None else str(number))
        for each in _features(table.take(table.complete), image, lattice, geometries=geometries):
            found.append(Feature(each.geometry, {**copied, **each.properties}, f"{index}_{each.id}"))
    return _sampled(found, image)


def _copied(feature: Feature, names: list[Any] | None) -> dict[str, Any]:
    if names is None:
        return {name: value for name, value in feature.properties.items() if not name.startswith("system:")}
    return {name: feature.properties.get(name) for name in texts(names)}


@registry.implements("Image.stratifiedSample")
def stratified_sample(
    image: Image,
    num_points: int,
    class_band: str | None = None,
    region: Geometry | None = None,
    scale: float | None = None,
    projection: Projection | None = None,
    seed: int = 0,
    class_values: list[Any] | None = None,
    class_points: list[Any] | None = None,
    drop_nulls: bool = True,
    tile_scale: float = 1,
    geometries: bool = False,
) -> Collection:
    """As many pixels of each class as are asked for, or all of them, class by class."""
    function = "Image.stratifiedSample"
    check_tile_scale(tile_scale, function)
    lattice = working_projection(image, scale, projection, None, function)
    classes = image.band(class_band, function=function) if class_band is not None else image.bands[0]
    check_plain(Image((classes,)), function)
    if classes.type.precision != "int":
        raise invalid(f"{function}: The class band '{classes.name}' must contain integers.")
    wanted = _wanted(class_values, class_points, function)
    table = pixels_of(image, bounded(region, image, function), lattice)
    place = image.bands.index(classes)
    table = table.take(table.complete if drop_nulls else table.known[place])
    chances, keys = table.chances(seed), table.values[place]
    chosen = [
        np.flatnonzero(keys == key)[_least(chances[keys == key], wanted.get(int(key), num_points))]
        for key in np.unique(keys)
    ]
    kept = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    return Collection(_features(table.take(kept), image, lattice, geometries=geometries))


def _wanted(values: list[Any] | None, points: list[Any] | None, function: str) -> dict[int, int]:
    if len(values or []) != len(points or []):
        raise invalid(f"{function}: 'classValues' and 'classPoints' must have the same length.")
    return {as_whole(value): as_whole(count) for value, count in zip(values or [], points or [], strict=True)}
