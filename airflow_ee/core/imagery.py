"""What a look at a collection found: images, and how much of the region they cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ee.core.coverage import covered_fraction
from airflow_ee.core.image_query import ImageQuery
from airflow_ee.core.resources import Asset

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient

__all__ = ["Imagery", "check_demand"]

MAXIMUM_LISTED = 20


@dataclass(frozen=True, slots=True)
class Imagery:
    """Images that a query found, in order of time.

    >>> Imagery(()).suffices(min_images=1, min_coverage=None)
    False
    """

    images: tuple[Asset, ...]
    coverage: float | None = None
    """Of the query's region, from 0 to 1; None without a region."""
    simulated: bool = False
    """Whether they are an emulator's, and no satellite's."""

    @classmethod
    def find(cls, client: EarthEngineClient, query: ImageQuery) -> Imagery:
        """Look at the collection once."""
        images = tuple(query.find(client))
        coverage = None if query.region is None else covered_fraction(query.region, images)
        return cls(images, coverage, client.simulated)

    def suffices(self, *, min_images: int, min_coverage: float | None) -> bool:
        """Whether there are enough images, and they cover enough."""
        return len(self.images) >= min_images and (
            min_coverage is None or (self.coverage is not None and self.coverage >= min_coverage)
        )

    def summary(self) -> dict[str, Any]:
        """A few JSON values; at most 20 ids, of the newest images."""
        starts = [image.start_time.isoformat() for image in self.images if image.start_time]
        updates = [image.update_time for image in self.images if image.update_time]
        return {
            "image_count": len(self.images),
            "image_ids": [image.id for image in self.images[-MAXIMUM_LISTED:]],
            "first_image_time": starts[0] if starts else None,
            "last_image_time": starts[-1] if starts else None,
            "coverage": self.coverage,
            "update_time": max(updates, key=datetime.fromisoformat) if updates else None,
            "simulated": self.simulated,
        }


def check_demand(*, min_images: int, min_coverage: float | None, region: object) -> None:
    """Refuse what no imagery could meet.

    Raises
    ------
    ValueError
        When a number is out of its range, or a coverage is asked for of no region.
    """
    if min_images < 1:
        raise ValueError(f"min_images must be at least 1, got {min_images}")
    if min_coverage is None:
        return
    if not 0 < min_coverage <= 1:
        raise ValueError(f"min_coverage is a fraction of the region, above 0 and up to 1, got {min_coverage}")
    if region is None:
        raise ValueError("min_coverage needs a region: it is the share of its area that images cover")
