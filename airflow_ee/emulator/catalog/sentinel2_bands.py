"""Bands of the simulated Sentinel-2 products: names, sizes, types, and what each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import optics
from airflow_ee.emulator.catalog.optics import WAVELENGTHS, Layer, Wavelength
from airflow_ee.emulator.catalog.scenes import Shade
from airflow_ee.emulator.pixels.types import FLOAT, PixelType, type_of_dtype

POLYGONS_END = date(2022, 1, 25)
CLASSES_BEGIN = date(2024, 2, 29)
"""Between these days QA60 is masked; before the second the MSK_CLASSI bands are."""

OFFSET_BEGINS, OFFSET = date(2022, 1, 25), 1000
"""From this day (processing baseline 04.00) reflectances are stored with this much added; harmonized products take it off."""

_UINT8, _UINT16, _UINT32 = (type_of_dtype(name) for name in ("uint8", "uint16", "uint32"))
_TRUE_COLOUR = 3558.0
"""The digital number that true colour shows as 255."""


def _always(_day: date) -> bool:
    return True


def _has_clouds(day: date) -> bool:
    return day < POLYGONS_END or day >= CLASSES_BEGIN


def _has_classes(day: date) -> bool:
    return day >= CLASSES_BEGIN


@dataclass(frozen=True, slots=True, eq=False)
class BandKind:
    """One band of a product."""

    name: str
    size: int
    """Side of a pixel in metres."""
    type: PixelType
    shade: Shade
    """From NDVI and sky, from the sky alone, or from nothing."""
    needs: tuple[str, ...] = ("green", "sky")
    policy: str = "MEAN"
    available: Callable[[date], bool] = _always
    as_delivered: bool = False
    """Whether digital numbers keep the offset of newer baselines."""

    def shade_on(self, day: date) -> Shade:
        """What the band shows on a day."""
        return partial(_offset, self.shade) if self.as_delivered and day >= OFFSET_BEGINS else self.shade


def _offset(shade: Shade, *layers: Layer) -> Layer:
    # Rounded first: the two kinds of collections differ by the offset and by nothing else.
    return np.rint(shade(*layers)) + OFFSET


def scene_classes(green: Layer, sky: Layer) -> Layer:
    """SCL: 3 shadow, 4 vegetation, 5 bare, 6 water, 7 to 9 clouds by thickness, 10 cirrus, 11 snow."""
    cloud, shadow, cirrus, snow = sky
    classes = np.where(green > 0.35, np.uint8(4), np.where(green < 0, np.uint8(6), np.uint8(5)))
    for where, value in (
        (snow > 0, 11),
        (shadow > 0, 3),
        (cirrus > 0, 10),
        (cloud > 0, 7),
        (cloud > optics.OPAQUE, 8),
        (cloud > optics.DENSE, 9),
    ):
        if where.any():
            classes = np.where(where, np.uint8(value), classes)
    return classes


def cloud_bits(sky: Layer) -> Layer:
    """QA60: bit 10 opaque clouds, bit 11 cirrus where no opaque cloud is."""
    return np.where(_opaque(sky), 1024, np.where(_thin(sky), 2048, 0))


def _opaque(sky: Layer) -> Layer:
    return np.asarray(sky[0] > optics.OPAQUE)


def _thin(sky: Layer) -> Layer:
    return np.asarray((sky[2] > optics.CIRRUS) & ~_opaque(sky))


def _surface(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    return optics.reflectance(wavelength, green, sky) * 10_000


def _top(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    return optics.at_top(wavelength, optics.reflectance(wavelength, green, sky)) * 10_000


def _cirrus_top(sky: Layer) -> Layer:
    return np.asarray(10_000 * (0.0015 + 0.05 * sky[2] + 0.02 * sky[0]))


def _colour(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    return np.clip(np.rint(_surface(wavelength, green, sky)) * (255 / _TRUE_COLOUR), 1, 255)


def _nothing() -> Layer:
    return np.zeros(())


def cloud_probability(sky: Layer) -> Layer:
    """Percent: 0 under a clear sky, 100 in a thick cloud; snow and cirrus look a little like clouds."""
    cloud, _, cirrus, snow = sky
    thin = 0.25 * cirrus + 0.15 * snow
    return np.asarray(100 * (cloud * (2 - cloud) + (1 - cloud) * (1 - cloud) * thin))


def cloud_score(sky: Layer) -> Layer:
    """How much of the ground is seen: 1 is all of it."""
    cloud, shadow, cirrus, _ = sky
    return np.asarray(0.98 * (1 - cloud) * (1 - 0.7 * shadow) * (1 - 0.5 * cirrus))


def cloud_score_rank(sky: Layer) -> Layer:
    """The same on the scale of what is usual: clear looks are near 1, others fall off faster."""
    score = cloud_score(sky)
    return np.asarray(score * score * (3 - 2 * score))


_SPECTRAL = (
    ("B1", 60, "coastal"),
    ("B2", 10, "blue"),
    ("B3", 10, "green"),
    ("B4", 10, "red"),
    ("B5", 20, "red edge 1"),
    ("B6", 20, "red edge 2"),
    ("B7", 20, "red edge 3"),
    ("B8", 10, "near"),
    ("B8A", 20, "narrow near"),
    ("B9", 60, "water vapour"),
    ("B11", 20, "swir 1"),
    ("B12", 20, "swir 2"),
)


def _spectral(look: Callable[..., Any]) -> list[BandKind]:
    return [BandKind(name, size, _UINT16, partial(look, WAVELENGTHS[colour])) for name, size, colour in _SPECTRAL]


def _sky_band(name: str, size: int, type_: PixelType, shade: Shade, policy: str = "MEAN") -> BandKind:
    return BandKind(name, size, type_, shade, needs=("sky",), policy=policy)


def _quality() -> list[BandKind]:
    return [
        BandKind("QA10", 10, _UINT16, _nothing, needs=(), policy="MODE"),
        BandKind("QA20", 20, _UINT32, _nothing, needs=(), policy="MODE"),
        BandKind("QA60", 60, _UINT16, cloud_bits, needs=("sky",), policy="MODE", available=_has_clouds),
        *(
            BandKind(f"MSK_CLASSI_{name}", 60, _UINT8, shade, ("sky",), "MODE", _has_classes)
            for name, shade in (("OPAQUE", _opaque), ("CIRRUS", _thin), ("SNOW_ICE", lambda sky: sky[3] > optics.SNOW))
        ),
    ]


SURFACE_BANDS = (
    *_spectral(_surface),
    _sky_band("AOT", 10, _UINT16, lambda sky: 120 + 300 * sky[0]),
    _sky_band("WVP", 10, _UINT16, lambda sky: 1500 + 1000 * sky[0]),
    BandKind("SCL", 20, _UINT8, scene_classes, policy="MODE"),
    *(
        BandKind(f"TCI_{letter}", 10, _UINT8, partial(_colour, WAVELENGTHS[colour]))
        for letter, colour in (("R", "red"), ("G", "green"), ("B", "blue"))
    ),
    _sky_band("MSK_CLDPRB", 20, _UINT8, lambda sky: 100 * sky[0]),
    _sky_band("MSK_SNWPRB", 20, _UINT8, lambda sky: 100 * sky[3] * (1 - sky[0])),
    *_quality(),
)
_TOP = _spectral(_top)
TOP_BANDS = (
    *_TOP[:10],
    _sky_band("B10", 60, _UINT16, _cirrus_top),
    *_TOP[10:],
    *_quality(),
)


def _delivered(bands: Sequence[BandKind]) -> tuple[BandKind, ...]:
    reflectances = {*(name for name, _, _ in _SPECTRAL), "B10"}
    return tuple(replace(band, as_delivered=band.name in reflectances) for band in bands)


DELIVERED_SURFACE_BANDS, DELIVERED_TOP_BANDS = _delivered(SURFACE_BANDS), _delivered(TOP_BANDS)
PROBABILITY_BANDS = (_sky_band("probability", 10, _UINT8, cloud_probability),)
SCORE_BANDS = (_sky_band("cs", 10, FLOAT, cloud_score), _sky_band("cs_cdf", 10, FLOAT, cloud_score_rank))
