"""Which images of a collection are wanted, as one value that a task and a trigger share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ee.core.filters import PropertyFilter, keep_matching
from airflow_ee.core.region import Region

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.resources import Asset

__all__ = ["ImageQuery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """Images that begin in an interval, meet a region, and whose properties pass.

    >>> from datetime import UTC
    >>> query = ImageQuery(collection="c", start=datetime(2023, 1, 1, tzinfo=UTC), end=datetime(2023, 2, 1, tzinfo=UTC))
    >>> query.told_interval
    '[2023-01-01T00:00:00+00:00, 2023-02-01T00:00:00+00:00)'
    >>> ImageQuery.from_json(query.to_json()) == query
    True
    """

    collection: str
    """Asset id."""
    start: datetime
    """Aware."""
    end: datetime
    """Aware; not part of the interval."""
    region: Region | None = None
    filters: tuple[PropertyFilter, ...] = ()

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"start must be before end, got {self.start.isoformat()} and {self.end.isoformat()}")

    @property
    def told_interval(self) -> str:
        """The interval, for people."""
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"

    def find(self, client: EarthEngineClient) -> list[Asset]:
        """The images there are now, in order of time.

        Properties are compared on this side: how Earth Engine's listing compares them is not documented.
        """
        images = client.list_images(self.collection, start=self.start, end=self.end, region=self.region)
        return [image for image in images if keep_matching(self.filters, image.properties)]

    def to_json(self) -> dict[str, Any]:
        """The query as JSON values."""
        return {
            "collection": self.collection,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "region": None if self.region is None else self.region.to_geojson(),
            "filters": [[item.name, item.comparison, item.value] for item in self.filters],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageQuery:
        """The query that :meth:`to_json` made."""
        return cls(
            collection=value["collection"],
            start=datetime.fromisoformat(value["start"]),
            end=datetime.fromisoformat(value["end"]),
            region=None if value["region"] is None else Region.parse(value["region"]),
            filters=tuple(PropertyFilter(*parts) for parts in value["filters"]),
        )
