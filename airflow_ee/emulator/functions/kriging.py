"""Values between places by ordinary kriging: the best linear estimate without a bias, of a field whose semivariogram is known.

N. Cressie, "Statistics for spatial data" (1993), in the dual form: the estimate is a sum of semivariances, whose factors are found once for
all pixels that see the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Positional, Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.element import Collection, geometry_of
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.reducers import Column, Reducer
from airflow_ee.emulator.values.sphere import EARTH_RADIUS, Vectors, vectors_of

Array = NDArray[np.float64]

_FUNCTION = "FeatureCollection.kriging"
_PART = 32
"""Pixels a side that are looked at together."""

MAX_PLACES = 1000
"""That one pixel may see: the work grows with the third power."""

MAX_ALL = 5000

_SHAPES: dict[str, Callable[[Array], Array]] = {
    "exponential": lambda share: 1 - np.exp(-3 * share),
    "gaussian": lambda share: 1 - np.exp(-3 * share**2),
    "spherical": lambda share: np.where(share < 1, 1.5 * share - 0.5 * share**3, 1.0),
}
"""From 0 to 1 over the range; the first two reach 95 % there."""


@dataclass(frozen=True, slots=True)
class _Field:
    """Places with a value each, and how values differ with distance."""

    places: Vectors
    values: Array
    semivariance: Callable[[Array], Array]

    def estimate(self, seen: NDArray[np.bool_], distances: Array) -> Array:
        """The field at pixels that see the same places; ``distances`` has a row for each of these places."""
        count = int(seen.sum())
        if count > MAX_PLACES:
            raise invalid(f"{_FUNCTION}: {count} places within 'maxDistance' are too many (maximum {MAX_PLACES}).")
        system = np.ones((count + 1, count + 1))
        system[:count, :count] = self.semivariance(_metres(self.places[seen], self.places[seen]))
        system[count, count] = 0.0
        *factors, level = np.linalg.lstsq(system, np.append(self.values[seen], 0.0), rcond=None)[0]
        total = np.full(distances.shape[1], level)
        for factor, each in zip(factors, self.semivariance(distances), strict=True):
            total += factor * each
        return total


def _metres(one: Vectors, two: Vectors) -> Array:
    """Between each of some places (rows) and each of others (columns), along the sphere."""
    apart = sum((one[:, None, axis] - two[None, :, axis]) ** 2 for axis in range(3))
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.clip(np.sqrt(apart) / 2, 0, 1)))


@registry.implements("FeatureCollection.kriging")
def kriging(
    collection: Collection,
    property_name: str,
    shape: str,
    range: float,
    sill: float,
    nugget: float,
    max_distance: float | None = None,
    reducer: Reducer | None = None,
) -> Image:
    """A band ``estimate``; masked where no place is within the distance."""
    if shape not in _SHAPES:
        raise invalid(f"{_FUNCTION}: Unknown shape '{shape}'; use one of {', '.join(_SHAPES)}.")
    far = range if max_distance is None else max_distance
    if not (range > 0 and far > 0 and 0 <= nugget <= sill and sill > 0):
        raise invalid(
            f"{_FUNCTION}: 'range' and 'maxDistance' must be positive, and 'nugget' between 0 and a positive 'sill'."
        )

    def semivariance(metres: Array) -> Array:
        return np.where(metres > 0, nugget + (sill - nugget) * _SHAPES[shape](metres / range), 0.0)

    places, values = _places(collection, property_name, reducer)
    field = _Field(places, values, semivariance)
    return Image((Band("estimate", DOUBLE, Positional(lambda grid: _estimated(field, far, grid))),))


def _places(collection: Collection, name: str, reducer: Reducer | None) -> tuple[Vectors, Array]:
    """The places in order and their values; those of one place are reduced, by their mean unless told otherwise."""
    found: dict[tuple[float, ...], list[float]] = {}
    for feature in collection.elements:
        geometry, value = geometry_of(feature), feature.properties.get(name)
        if geometry is None or geometry.shape.geom_type != "Point" or geometry.shape.is_empty:
            raise invalid(f"{_FUNCTION}: every feature must be a point.")
        if not isinstance(value, int | float):
            raise invalid(f"{_FUNCTION}: the property '{name}' must be a number, got {value!r}.")
        found.setdefault(tuple(shapely.get_coordinates(geometry.in_crs(WGS84))[0]), []).append(float(value))
    if len(found) > MAX_ALL:
        raise invalid(f"{_FUNCTION}: {len(found)} places are too many (maximum {MAX_ALL}).")
    coordinates = np.array(list(found)).reshape(-1, 2)
    return vectors_of(coordinates), np.array([_collapsed(values, reducer) for values in found.values()])


def _collapsed(values: Sequence[float], reducer: Reducer | None) -> float:
    chosen = reducer or registry.call("Reducer.mean", {})
    found = list(chosen.of_columns([Column.of(values)], function=_FUNCTION).values())
    if len(found) != 1 or not isinstance(found[0], int | float):
        raise invalid(f"{_FUNCTION}: the reducer must give one number, {chosen.label} does not.")
    return float(found[0])


def _estimated(field: _Field, far: float, grid: Grid) -> Raster:
    values, mask = np.zeros(grid.shape), np.zeros(grid.shape, np.float32)
    for part in grid.blocks(_PART) if len(field.values) else ():
        longitudes, latitudes = (np.broadcast_to(each, part.shape).ravel() for each in part.centres_in(WGS84))
        distances = _metres(field.places, vectors_of(np.column_stack([longitudes, latitudes])))
        patterns, which = np.unique(distances <= far, axis=1, return_inverse=True)
        found = np.full(len(longitudes), np.nan)
        for number, seen in enumerate(patterns.T):
            deadline.check()
            pixels = which.ravel() == number
            if seen.any():
                found[pixels] = field.estimate(seen, distances[seen][:, pixels])
        top, left = part.row - grid.row, part.col - grid.col
        window = (slice(top, top + part.height), slice(left, left + part.width))
        known = np.isfinite(found).reshape(part.shape)
        values[window], mask[window] = np.where(known, found.reshape(part.shape), 0.0), known
    return Raster(values, mask)
