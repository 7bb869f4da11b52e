"""What a table is made of: the features of an expression, or an image's statistics over regions."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ee import __version__
from airflow_ee.core.columns import FLOAT, INTEGER
from airflow_ee.core.expression import Expression
from airflow_ee.core.reduce_regions import RegionFeature, RegionReducer, RegionRequests
from airflow_ee.core.tables import FeatureSpool, Table

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient

__all__ = ["FeatureSource"]

TELL_SECONDS = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """Features to ask for: ``expression``, or ``reducer`` over ``regions`` or the table asset ``regions_asset``."""

    expression: Expression | None = None
    """A feature collection."""
    reducer: RegionReducer | None = None
    regions: Sequence[RegionFeature] = ()
    regions_asset: str | None = None
    page_size: int = 1000
    workload_tag: str | None = None

    def __post_init__(self) -> None:
        if (self.expression is None) == (self.reducer is None):
            raise ValueError("give either an expression or a reducer")
        if self.reducer is not None and bool(self.regions) == (self.regions_asset is not None):
            raise ValueError("a reducer needs regions or regions_asset, one of them")
        if self.page_size < 1:
            raise ValueError(f"page_size must be at least 1, got {self.page_size}")

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for; the size of pages and the tag do not count."""
        if self.expression is not None:
            return self.expression.digest
        if self.regions_asset is not None:
            return self._reducer.over_table(self.regions_asset).digest
        digest = hashlib.sha256(self._reducer.over_regions([]).text.encode())
        for region in self.regions:
            told = [region.index, dict(region.geometry), dict(region.properties)]
            digest.update(json.dumps(told, sort_keys=True).encode())
        return digest.hexdigest()

    def collect(self, client: EarthEngineClient, file: Path, selectors: Sequence[str] | None) -> tuple[Table, int]:
        """Ask for all features, into the scratch file ``file``; the table that they make, and the number of answers."""
        if self.expression is not None:
            return self._collect_expression(client, self.expression, FeatureSpool(file, selectors))
        bands = [band.id for band in client.compute_bands(self._reducer.image, workload_tag=self.workload_tag)]
        asking = RegionRequests(
            client=client,
            reducer=self._reducer,
            bands=bands,
            page_size=self.page_size,
            workload_tag=self.workload_tag,
            requests=1,
        )
        whole = self._reducer.whole(asking.columns)
        known = {name: INTEGER if name in whole else FLOAT for name in asking.columns}
        table_asset = self.regions_asset
        features = asking.over_regions(self.regions) if table_asset is None else asking.over_table(table_asset)
        table = FeatureSpool(file, selectors, known).take(_told(features))
        return table, asking.requests

    def provenance(self, client: EarthEngineClient) -> dict[str, str]:
        """Where the table comes from, once its features have come."""
        told = {"request_digest": self.digest, "software": f"airflow-ee {__version__}"}
        return {**told, **({"simulated": "true"} if client.simulated else {})}

    def _collect_expression(
        self, client: EarthEngineClient, expression: Expression, spool: FeatureSpool
    ) -> tuple[Table, int]:
        pages = client.compute_feature_pages(expression, page_size=self.page_size, workload_tag=self.workload_tag)
        requests = 0

        def features() -> Iterator[dict[str, Any]]:
            nonlocal requests
            for page in pages:
                requests += 1
                yield from page

        table = spool.take(_told(features()))
        return table, requests

    @property
    def _reducer(self) -> RegionReducer:
        if self.reducer is None:
            raise ValueError("there is no reducer: the expression says what is computed")
        return self.reducer


def _told(features: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The features, their number logged now and then."""
    begun = told = time.monotonic()
    for number, feature in enumerate(features, 1):
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            log.info("%d features after %.0f s", number, told - begun)
        yield feature
