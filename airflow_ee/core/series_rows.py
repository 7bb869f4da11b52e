"""Rows of a series' table from the layers of an image or a group of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from airflow_ee.core.grouping import ImageGroup
from airflow_ee.core.mosaic import UNKNOWN_DAY, Layer
from airflow_ee.core.observations import SeriesBand
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.sampling import Sampler
from airflow_ee.core.series import MAXIMUM_IMAGE_IDS
from airflow_ee.core.statistics import BASE_STATISTICS, BandStatistics, band_statistics, extra_columns, weighted_median

__all__ = ["RowMaker"]

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMaker:
    """What the rows of a series have in common."""

    collection: str
    regions: Sequence[NamedRegion]
    statistics: tuple[str, ...] = BASE_STATISTICS
    percentiles: tuple[float, ...] = ()
    min_valid_fraction: float = 0.0
    """Rows with less of the region's weight valid have no statistics."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_valid_fraction <= 1:
            raise ValueError(f"min_valid_fraction must be in 0..1, got {self.min_valid_fraction}")
        extra_columns(self.statistics, self.percentiles)

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns besides those that every table has."""
        return extra_columns(self.statistics, self.percentiles)

    def rows(
        self, group: ImageGroup, band: SeriesBand, layer: Layer, sampler: Sampler, *, simulated: bool
    ) -> Iterator[dict[str, Any]]:
        """A row for each region, in their order."""
        shared = self._shared(group, band, simulated)
        for index, named in enumerate(self.regions):
            weights = sampler.zones[index].weights
            valid = sampler.pick(index, layer.valid)
            numbers = band_statistics(
                sampler.pick(index, layer.values),
                valid,
                weights,
                scale=band.numbers.scale,
                offset=band.numbers.offset,
                extra=self.extra,
            )
            day = _observation_date(sampler.pick(index, layer.days), valid, weights)
            yield {"region_id": named.id, **shared, "observation_date": day, **self._numbers(numbers)}

    def _shared(self, group: ImageGroup, band: SeriesBand, simulated: bool) -> Mapping[str, Any]:
        return {
            "band": band.name,
            "interval_start": group.interval_start,
            "interval_end": group.interval_end,
            "image_start": group.image_start,
            "image_end": group.image_end,
            "image_count": len(group.images),
            "image_ids": [image.id for image in group.images[:MAXIMUM_IMAGE_IDS]],
            "unit": band.numbers.unit,
            "source_update_time": group.update_time,
            "source": self.collection,
            "simulated": simulated,
        }

    def _numbers(self, numbers: BandStatistics) -> dict[str, Any]:
        """Statistics that were asked for, where enough of the region is valid; counts always."""
        enough = numbers.valid_count > 0 and numbers.valid_fraction >= self.min_valid_fraction
        base = {
            name: getattr(numbers, name) if enough and name in self.statistics else None for name in BASE_STATISTICS
        }
        return {
            **base,
            **{name: value if enough else None for name, value in numbers.extra.items()},
            "weight_sum": numbers.weight_sum,
            "valid_count": numbers.valid_count,
            "pixel_count": numbers.pixel_count,
            "valid_fraction": numbers.valid_fraction,
        }


def _observation_date(days: Any, valid: Any, weights: Any) -> date | None:
    """Day on which the median pixel was observed, by weight; None where no day is known."""
    used = valid & (weights > 0) & (days != UNKNOWN_DAY)
    if not used.any():
        return None
    return EPOCH + timedelta(days=int(weighted_median(np.asarray(days)[used], weights[used])))
