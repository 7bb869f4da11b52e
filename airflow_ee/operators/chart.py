"""An operator that draws the chart of a time series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import text_or_none
from airflow_ee.operators.locations import connection_for, location

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.sinks.base import Location

__all__ = ["EarthEngineTimeSeriesChartOperator"]


class EarthEngineTimeSeriesChartOperator(BaseOperator):
    """Draw the merged table of :class:`~airflow_ee.operators.series.EarthEngineTimeSeriesOperator` as a PNG.

    Needs the extra ``airflow-ee[chart]``.

    :param table_uri: place of the table, as the series operator was given it
    :param chart_uri: PNG to write
    :param title: above the chart; simulated data are labelled besides
    :param band: band to draw; None: the table's first
    :param region_id: region to draw, as the series operator returns it; None: the table's first
    :param attribution: where the data come from, below the chart
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param gcp_conn_id: Airflow connection of type ``earth_engine`` or ``google_cloud_platform``
    """

    template_fields: Sequence[str] = (
        "table_uri",
        "chart_uri",
        "title",
        "band",
        "region_id",
        "attribution",
        "output_conn_id",
        "gcp_conn_id",
    )

    def __init__(
        self,
        *,
        table_uri: str,
        chart_uri: str,
        title: str,
        band: str | None = None,
        region_id: str | None = None,
        attribution: str = "",
        output_conn_id: str | None = None,
        gcp_conn_id: str = "earth_engine_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table_uri = table_uri
        self.chart_uri = chart_uri
        self.title = title
        self.band = band
        self.region_id = region_id
        self.attribution = attribution
        self.output_conn_id = output_conn_id
        self.gcp_conn_id = gcp_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Draw the chart; tell where it is."""
        # Pyarrow and matplotlib are for workers; parsing a DAG file must not load them.
        from airflow_ee.core.charts import draw_series

        with fail_fast():
            table = self._location(self.table_uri).with_suffix(".csv")
            if not table.exists():
                raise ValueError(f"table_uri: there is no table {table.url}")
            chart = self._location(self.chart_uri)
            picture = draw_series(
                table.read_bytes(),
                title=str(self.title),
                band=text_or_none(self.band),
                region_id=text_or_none(self.region_id),
                attribution=str(self.attribution),
            )
            chart.write_bytes(picture)
        self.log.info("Drew %s", chart.url)
        return {"uri": chart.url}

    def _location(self, uri: str) -> Location:
        return location(uri, connection_for(uri, self.output_conn_id, self.gcp_conn_id))
