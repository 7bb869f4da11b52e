"""Vegetation and water indices, from bands in physical units.

All are computed in float64 after scale and offset: an offset does not cancel in a ratio, and unsigned digital numbers
would underflow in a difference. As in Earth Engine's ``normalizedDifference``, a pixel with a negative input is invalid
(reflectance below 0 is an error of the atmospheric correction, and makes ratios leave -1..1); so is one whose denominator
is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FORMULAS", "Formula", "Index"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """An index as a fraction of reflectances."""

    colours: tuple[str, ...]
    """What it is made of: ``blue``, ``green``, ``red``, ``nir``, ``swir1``, ``swir2``."""
    terms: Callable[..., tuple[Array, Array]]
    """Numerator and denominator from the colours, in this order."""
    reference: str

    def compute(self, reflectances: tuple[Array, ...], valid: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Values, float64, and where they are valid.

        Parameters
        ----------
        reflectances
            One array a colour, float64, all of one shape.
        valid
            Where all of them are valid.

        Examples
        --------
        >>> nir, red = np.array([0.5, 0.0, -0.1]), np.array([0.1, 0.0, 0.2])
        >>> values, valid = FORMULAS["NDVI"].compute((nir, red), np.ones(3, bool))
        >>> round(float(values[0]), 4), valid.tolist()
        (0.6667, [True, False, False])
        """
        numerator, denominator = self.terms(*reflectances)
        usable = valid & (denominator != 0)
        for reflectance in reflectances:
            usable &= reflectance >= 0
        values = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=usable)
        return values, usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index of a collection: a band that holds it, or a formula over bands."""

    band: str | None = None
    formula: Formula | None = None
    inputs: tuple[str, ...] = ()
    """Bands for the formula's colours, in order."""

    def __post_init__(self) -> None:
        if (self.band is None) == (self.formula is None):
            raise ValueError("an index is either a band or a formula")
        if self.formula is not None and len(self.inputs) != len(self.formula.colours):
            raise ValueError(f"an index of {self.formula.colours} needs as many bands, got {self.inputs}")

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that have to be fetched for it."""
        return (self.band,) if self.band else self.inputs


def _difference(first: Array, second: Array) -> tuple[Array, Array]:
    return first - second, first + second


def _enhanced(nir: Array, red: Array, blue: Array) -> tuple[Array, Array]:
    return 2.5 * (nir - red), nir + 6 * red - 7.5 * blue + 1


def _enhanced_two(nir: Array, red: Array) -> tuple[Array, Array]:
    return 2.5 * (nir - red), nir + 2.4 * red + 1


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "NDVI": Formula(
            colours=("nir", "red"),
            terms=_difference,
            reference="Tucker 1979, https://doi.org/10.1016/0034-4257(79)90013-0",
        ),
        "EVI": Formula(
            colours=("nir", "red", "blue"),
            terms=_enhanced,
            reference="Huete et al. 2002, https://doi.org/10.1016/S0034-4257(02)00096-2",
        ),
        "EVI2": Formula(
            colours=("nir", "red"),
            terms=_enhanced_two,
            reference="Jiang et al. 2008, https://doi.org/10.1016/j.rse.2008.06.006",
        ),
        "NDWI": Formula(
            colours=("green", "nir"),
            terms=_difference,
            reference="McFeeters 1996 (open water), https://doi.org/10.1080/01431169608948714",
        ),
        "NDMI": Formula(
            colours=("nir", "swir1"),
            terms=_difference,
            reference="Gao 1996 (water in leaves), https://doi.org/10.1016/S0034-4257(96)00067-3",
        ),
        "NBR": Formula(
            colours=("nir", "swir2"),
            terms=_difference,
            reference="Key and Benson 2006, https://www.fs.usda.gov/research/treesearch/24066",
        ),
    }
)
"""Formulas by name."""
