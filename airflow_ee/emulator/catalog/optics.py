"""What instruments see of the simulated ground and sky: reflectances, and what they mean for quality bands.

The red and the near infrared are chosen such that their normalised difference is the truth of :mod:`fields`; the other
wavelengths follow one of the two. Shadow dims, snow and cloud cover, cirrus brightens. Where none of them is, the reflectance is
the ground's alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layer = NDArray[Any]

OPAQUE = 0.4
"""Clouds that are thicker count as clouds; thinner ones are haze."""
DENSE = 0.75
CIRRUS = 0.3
SNOW = 0.5


@dataclass(frozen=True, slots=True)
class Wavelength:
    """How one spectral band follows the ground."""

    near: bool
    """Whether it follows the near infrared rather than the red."""
    share: float
    """Relative to the one that it follows."""
    cloud: float = 0.75
    """Reflectance of a thick cloud."""
    snow: float = 0.8
    path: float = 0.0
    """What the atmosphere adds at the top of it, and the share that it lets through."""
    through: float = 1.0


BLUE = 0.45
GREEN = 0.8

WAVELENGTHS = {
    "coastal": Wavelength(near=False, share=0.35, path=0.12, through=0.80),
    "blue": Wavelength(near=False, share=BLUE, path=0.09, through=0.84),
    "green": Wavelength(near=False, share=GREEN, path=0.055, through=0.88),
    "red": Wavelength(near=False, share=1.0, path=0.035, through=0.91),
    "red edge 1": Wavelength(near=False, share=1.3, path=0.03, through=0.91),
    "red edge 2": Wavelength(near=True, share=0.75, path=0.024, through=0.92),
    "red edge 3": Wavelength(near=True, share=0.92, path=0.02, through=0.94),
    "near": Wavelength(near=True, share=1.0, path=0.018, through=0.93),
    "narrow near": Wavelength(near=True, share=1.02, path=0.014, through=0.96),
    "water vapour": Wavelength(near=True, share=0.95, cloud=0.6, path=0.002, through=0.45),
    "swir 1": Wavelength(near=False, share=1.6, cloud=0.45, snow=0.12, path=0.003, through=0.95),
    "swir 2": Wavelength(near=False, share=1.2, cloud=0.38, snow=0.08, path=0.001, through=0.93),
}


def reflectance(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    """Reflectance at the surface as the atmospheric correction leaves it, from 0 to about 1."""
    cloud, shadow, cirrus, snow = sky
    seen = ground(wavelength, green)
    if shadow.any():
        seen = seen * (1 - 0.55 * (shadow * (1 - cloud)))
    if snow.any():
        seen = seen + (wavelength.snow - seen) * snow
    if cirrus.any():
        seen = seen + 0.06 * cirrus
    return seen + (wavelength.cloud - seen) * cloud if cloud.any() else seen


def ground(wavelength: Wavelength, green: Layer) -> Layer:
    """Reflectance of the ground in full light, from its NDVI."""
    red = 0.14 - 0.12 * np.clip(green, 0, 1)
    if not wavelength.near:
        return np.asarray(red * wavelength.share)
    return np.asarray(red * (1 + green) / (1 - green) * wavelength.share)


def at_top(wavelength: Wavelength, surface: Layer) -> Layer:
    """Reflectance at the top of the atmosphere."""
    return wavelength.path + wavelength.through * surface
