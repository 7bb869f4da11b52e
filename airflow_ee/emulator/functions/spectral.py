"""How far spectra are from each other, and morphology by these distances.

The metrics are those of F. van der Meer, "The effectiveness of spectral similarity measures for the analysis of hyperspectral
imagery" (2006); the morphology is that of A. Plaza et al., "Spatial/spectral endmember extraction by multidimensional
morphological operations" (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import joined, settled
from airflow_ee.emulator.functions.of_numbers import checked, of_numbers
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.together import Surroundings, results
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Padded
from airflow_ee.emulator.pixels.raster import Mask, Pointwise, Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.kernel import Kernel, Weights

Spectra = NDArray[np.float64]
"""Bands along the first axis."""

Metric = Callable[[Spectra, Spectra], NDArray[np.float64]]


def _summed(bands: Spectra) -> NDArray[np.float64]:
    """Band after band, so that a pixel's sum does not hang on the pixels beside it."""
    total = np.zeros(bands.shape[1:])
    for band in bands:
        total += band
    return total


def _angle(one: Spectra, two: Spectra) -> NDArray[np.float64]:
    """The angle between both, in radians; a spectrum of zeros has none."""
    cosine = _summed(one * two) / np.sqrt(_summed(one**2) * _summed(two**2))
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _divergence(one: Spectra, two: Spectra) -> NDArray[np.float64]:
    """How badly each predicts the other, taken as distributions over the bands."""
    first, second = one / _summed(one), two / _summed(two)
    return _summed((first - second) * (np.log(first) - np.log(second)))


def _square(one: Spectra, two: Spectra) -> NDArray[np.float64]:
    return _summed((one - two) ** 2)


def _earth_moved(one: Spectra, two: Spectra) -> NDArray[np.float64]:
    """What must be carried from band to band to make one of the other, as Apache Commons Math computes it."""
    carried, total = np.zeros(one.shape[1:]), np.zeros(one.shape[1:])
    for first, second in zip(one, two, strict=True):
        carried = carried + first - second
        total += np.abs(carried)
    return total


METRICS: dict[str, Metric] = {"sam": _angle, "sid": _divergence, "sed": _square, "emd": _earth_moved}


def _metric(name: str, function: str) -> Metric:
    if name not in METRICS:
        raise invalid(f"{function}: Unknown metric '{name}'; use one of {', '.join(METRICS)}.")
    return METRICS[name]


@of_numbers("Image.spectralDistance")
def spectral_distance(image1: Image, image2: Image, metric: str = "sam") -> Image:
    """A band ``distance``: how far the two spectra of each pixel are apart."""
    function = "Image.spectralDistance"
    measure, count = _metric(metric, function), len(image1.bands)
    if not count or count != len(image2.bands):
        raise invalid(f"{function}: Images must have the same number of bands. Got {count} and {len(image2.bands)}.")

    def compare(*rasters: Raster) -> Raster:
        mask = np.minimum.reduce([raster.mask for raster in rasters])
        spectra = _stacked(rasters, mask)
        return _measured(measure, spectra[:count], spectra[count:], mask)

    parts = [*image1.bands, *image2.bands]
    return Image((joined("distance", DOUBLE, Pointwise(compare, *(band.node for band in parts)), parts),))


def _stacked(rasters: Sequence[Raster], mask: Mask) -> Spectra:
    return np.stack([np.where(mask > 0, raster.values, 1).astype(np.float64) for raster in rasters])


def _measured(measure: Metric, one: Spectra, two: Spectra, mask: Mask) -> Raster:
    with np.errstate(all="ignore"):
        return settled(measure(one, two), mask, DOUBLE)


class _Window:
    """The spectra under a kernel, from each pixel's point of view."""

    def __init__(self, padded: Sequence[Padded], weights: Weights) -> None:
        self._padded = padded
        self._cells = weights.cells
        self.centre, self.known = self.shifted(0, 0)

    def shifted(self, row: int, col: int) -> tuple[Spectra, Mask]:
        """The neighbours' spectra, and where they are known in all bands."""
        rasters = [each.shifted(row, col) for each in self._padded]
        mask = np.minimum.reduce([raster.mask for raster in rasters])
        return _stacked(rasters, mask), mask

    def centroid(self) -> Spectra:
        """The mean of the neighbours that are known."""
        total, count = np.zeros_like(self.centre), np.zeros(self.known.shape)
        for row, col, _ in self._cells:
            spectra, mask = self.shifted(row, col)
            total += np.where(mask > 0, spectra, 0.0)
            count += mask > 0
        return np.asarray(total / np.maximum(count, 1))

    def chosen(self, measure: Metric, origin: Spectra, *, farthest: bool) -> Spectra:
        """The spectrum of the neighbour that is the closest to the origin or the farthest from it, the first of equals."""
        best = np.full(self.known.shape, -np.inf if farthest else np.inf)
        found = self.centre.copy()
        for row, col, _ in self._cells:
            deadline.check()
            spectra, mask = self.shifted(row, col)
            with np.errstate(all="ignore"):
                far = measure(spectra, origin)
            wins = (mask > 0) & ((far > best) if farthest else (far < best))
            best = np.where(wins, far, best)
            found = np.where(wins, spectra, found)
        return found


def _morphology(name: str, *, farthest: bool) -> Callable[..., Image]:
    function = f"Image.{name}"

    def apply(image: Image, metric: str = "sam", kernel: Kernel | None = None, use_centroid: bool = False) -> Image:
        measure, window = _prepared(image, metric, kernel, function)

        def pick(padded: Sequence[Padded], grid: Grid) -> Raster:
            seen = _Window(padded, window.at(grid.projection.nominal_scale))
            found = seen.chosen(measure, seen.centroid() if use_centroid else seen.centre, farthest=farthest)
            return Raster(found, np.broadcast_to(seen.known, found.shape))

        nodes = results(_around(image, window, pick), [band.type for band in image.bands])
        return image.with_bands(replace(band, node=node) for band, node in zip(image.bands, nodes, strict=True))

    apply.__doc__ = f"The spectrum of the {'most distant' if farthest else 'closest'} pixel under a kernel."
    return apply


def _around(image: Image, window: Kernel, function: Callable[[Sequence[Padded], Grid], Raster]) -> Surroundings:
    nodes = [band.node for band in image.bands]
    return Surroundings(nodes, lambda grid: window.at(grid.projection.nominal_scale).margins, function)


def _prepared(image: Image, metric: str, kernel: Kernel | None, function: str) -> tuple[Metric, Kernel]:
    measure = _metric(metric, function)
    if not image.bands:
        raise invalid(f"{function}: Image has no bands.")
    return measure, kernel or registry.call("Kernel.square", {"radius": 1})


registry.add("Image.spectralErosion", checked("Image.spectralErosion", _morphology("spectralErosion", farthest=False)))
registry.add(
    "Image.spectralDilation", checked("Image.spectralDilation", _morphology("spectralDilation", farthest=True))
)


@of_numbers("Image.spectralGradient")
def spectral_gradient(
    image: Image, metric: str = "sam", kernel: Kernel | None = None, use_centroid: bool = False
) -> Image:
    """A band ``distance``: that between the dilated and the eroded spectrum."""
    measure, window = _prepared(image, metric, kernel, "Image.spectralGradient")

    def spread(padded: Sequence[Padded], grid: Grid) -> Raster:
        seen = _Window(padded, window.at(grid.projection.nominal_scale))
        origin = seen.centroid() if use_centroid else seen.centre
        near, far = (seen.chosen(measure, origin, farthest=farthest) for farthest in (False, True))
        return _measured(measure, near, far, seen.known)

    base = image.bands[0]
    return Image((Band("distance", DOUBLE, _around(image, window, spread), base.projection, base.extent),))
