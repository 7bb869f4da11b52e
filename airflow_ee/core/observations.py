"""From an image's pixels to what a series is made of: bands and indices of good quality, with the day of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.grouping import local_date
from airflow_ee.core.indices import Formula
from airflow_ee.core.mosaic import UNKNOWN_DAY, Layer
from airflow_ee.core.presets import RAW, BandPreset, Preset
from airflow_ee.core.quality import BandSource, QualityRule

__all__ = ["SeriesBand", "observe", "series_bands"]

EPOCH = date(1970, 1, 1).toordinal()
Array = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesBand:
    """What rows are made of: a band, or an index computed from several."""

    name: str
    """As the table calls it."""
    inputs: tuple[str, ...]
    """Bands that are fetched for it."""
    numbers: BandPreset
    """Of the values of its layer: digital numbers of a band, or an index."""
    formula: Formula | None = None
    input_numbers: tuple[BandPreset, ...] = ()
    """Of the formula's inputs."""

    def compute(self, pixels: BandSource, good: Valid | None) -> tuple[Array, Valid]:
        """Values, and where they are valid, in their range and of good quality."""
        if self.formula is None:
            values, valid = pixels.band(self.inputs[0])
            return values, _usable(values, valid, self.numbers, good)
        usable = None
        reflectances = []
        for name, numbers in zip(self.inputs, self.input_numbers, strict=True):
            values, valid = pixels.band(name)
            usable = _usable(values, valid, numbers, good if usable is None else usable)
            reflectances.append(values.astype(np.float64) * numbers.scale + numbers.offset)
        if usable is None:
            raise ValueError(f"{self.name} has no inputs")
        return self.formula.compute(tuple(reflectances), usable)


def series_bands(preset: Preset | None, names: Sequence[str], indices: Sequence[str] = ()) -> tuple[SeriesBand, ...]:
    """The bands and indices of a series.

    Parameters
    ----------
    names
        Bands; a name that is no band of the preset but an index of it is the index, so that ``NDVI`` serves for any sensor.
    indices
        Indices only.

    Raises
    ------
    ValueError
        When a name is there twice, or the collection has no such index.

    Examples
    --------
    >>> from airflow_ee.core.presets import PRESETS
    >>> [band.inputs for band in series_bands(PRESETS["LC08"], ["NDVI", "SR_B4"])]
    [('SR_B5', 'SR_B4'), ('SR_B4',)]
    """
    every = [*names, *indices]
    if len(set(every)) != len(every):
        raise ValueError(f"bands: each band at most once, got {every}")
    if preset is None:
        if indices:
            raise ValueError("index needs a collection with a preset; give bands instead")
        return tuple(SeriesBand(name=name, inputs=(name,), numbers=RAW) for name in names)
    return tuple(_band(preset, name, name in indices) for name in every)


def observe(
    pixels: BandSource,
    *,
    bands: Sequence[SeriesBand],
    rule: QualityRule | None,
    preset: Preset | None,
    start: datetime,
    hours: int,
) -> dict[str, Layer]:
    """Layers of an image by band.

    Parameters
    ----------
    start
        Of the image.
    hours
        By which days are ahead of UTC's.
    """
    good = rule.good(pixels) if rule else None
    computed = {band.name: band.compute(pixels, good) for band in bands}
    shape = pixels.band(pixels.bands[0])[1].shape
    days = _days(pixels, preset, start, hours, shape)
    return {name: Layer(values, valid, days) for name, (values, valid) in computed.items()}


def _band(preset: Preset, name: str, is_index: bool) -> SeriesBand:
    if is_index or (name in preset.indices and name not in preset.bands):
        return _index(preset, name)
    return SeriesBand(name=name, inputs=(name,), numbers=preset.band(name))


def _index(preset: Preset, name: str) -> SeriesBand:
    index = preset.index(name)
    if index.band is not None:
        return SeriesBand(name=name, inputs=(index.band,), numbers=preset.band(index.band))
    return SeriesBand(
        name=name,
        inputs=index.inputs,
        numbers=RAW,
        formula=index.formula,
        input_numbers=tuple(preset.band(band) for band in index.inputs),
    )


def _usable(values: Array, valid: Valid, numbers: BandPreset, good: Valid | None) -> Valid:
    usable = valid.copy() if good is None else valid & good
    if numbers.valid_min is not None:
        usable &= values >= numbers.valid_min
    if numbers.valid_max is not None:
        usable &= values <= numbers.valid_max
    return usable


def _days(
    pixels: BandSource, preset: Preset | None, start: datetime, hours: int, shape: tuple[int, ...]
) -> npt.NDArray[np.int32]:
    """Day of each pixel since 1970: from the day-of-year band, or the day of an image of one moment."""
    if preset is not None and preset.day_of_year_band in pixels.bands:
        return _composite_days(pixels, preset, str(preset.day_of_year_band), start)
    if preset is not None and preset.days == 0:
        return np.broadcast_to(np.int32(local_date(start, hours).toordinal() - EPOCH), shape)
    return np.broadcast_to(np.int32(UNKNOWN_DAY), shape)


def _composite_days(pixels: BandSource, preset: Preset, band: str, start: datetime) -> npt.NDArray[np.int32]:
    """A day of the year before the composite's own first one is next year's."""
    day_of_year, known = pixels.band(band)
    known = known & (day_of_year >= 1) & (day_of_year <= 366)
    day = np.where(known, day_of_year, 1).astype(np.int32)
    first_day = start.timetuple().tm_yday
    to_new_year = (datetime(start.year + 1, 1, 1, tzinfo=UTC) - start).days
    elapsed = np.where(day >= first_day, day - first_day, day - 1 + to_new_year)
    # A day just before the image's first would look like one of the next year.
    known &= elapsed <= preset.days
    first = start.date().toordinal() - EPOCH
    return np.where(known, first + elapsed, UNKNOWN_DAY).astype(np.int32)
