"""
### NDVI time series of MODIS MOD13Q1, or of another sensor

Every month: fetch the 16-day composites of the past month over an area, and once more those of the month before (they
are published days to weeks late, and sometimes revised); write a GeoTIFF for each, add rows to one table, draw the chart.

Only pixels of good or marginal quality count (`SummaryQA <= 1`). Masked pixels are never zeros. Runs side by side and
backfills are safe: every image has a part file of its own.

**Another sensor**: `collection` alone. `S2_SR_HARMONIZED`, `LC08` and `LC09` give NDVI from their red and near infrared bands,
by their own cloud masks, on their own grids; there `rows` by day put overlapping images together.

**By hand**: trigger with `start` and `end` in the form. **Another area**: `region` as `west,south,east,north`, GeoJSON, or
a `.geojson` file; empty for an image's whole grid.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.operators.chart import EarthEngineTimeSeriesChartOperator
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
CONCURRENCY = 8

with DAG(
    dag_id="ndvi_modis_timeseries",
    description="MODIS NDVI over an area: rasters, a table and a chart that grow with every month",
    doc_md=__doc__,
    # A plain cron string would give intervals without length, and so no dates.
    schedule=CronDataIntervalTimetable("0 6 1 * *", timezone="UTC"),
    start_date=datetime(2000, 3, 1),
    catchup=False,
    max_active_runs=4,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["earth engine", "ndvi", "modis"],
    params={
        "region": Param(
            "-55.60,-12.10,-55.45,-11.95",
            type=["string", "null"],
            title="Area",
            description="west,south,east,north in degrees, GeoJSON text or a .geojson file; empty: the whole grid",
        ),
        "collection": Param(
            "MOD13Q1",
            type="string",
            examples=["MOD13Q1", "MYD13Q1", "MOD13A1", "VNP13A1", "S2_SR_HARMONIZED", "LC08", "LC09"],
            title="Sensor",
            description="A preset's name or an asset id",
        ),
        "band": Param(
            "NDVI", type="string", title="Bands", description="Indices or bands of the collection, separated by commas"
        ),
        "rows": Param(
            "image",
            type="string",
            enum=["image", "day"],
            title="A row for each",
            description="Image, or day: overlapping images of a day as a mosaic",
        ),
        "quality": Param(
            "preset",
            type=["string", "null"],
            title="Quality",
            description="preset (SummaryQA<=1 for MODIS), a rule of your own, or empty for every valid pixel",
        ),
        "scale": Param(
            None,
            type=["number", "null"],
            exclusiveMinimum=0,
            title="Scale",
            description="Metres a pixel; empty: the collection's own grid",
        ),
        "crs": Param(
            None,
            type=["string", "null"],
            title="CRS",
            description="Such as EPSG:32721; empty: the collection's own, or the area's UTM zone",
        ),
        "start": Param(
            None, type=["string", "null"], format="date", title="First day", description="Empty: the data interval"
        ),
        "end": Param(
            None,
            type=["string", "null"],
            format="date",
            title="Day after the last",
            description="Empty: the data interval",
        ),
        "output_uri": Param(OUTPUT, type="string", title="Folder", description="Local path, gs:// or s3://"),
        "title": Param(
            None, type=["string", "null"], title="Title of the chart", description="Empty: bands and collection"
        ),
        "attribution": Param(
            None,
            type=["string", "null"],
            title="Attribution",
            description="Told below the chart; empty: the collection",
        ),
    },
    render_template_as_native_obj=True,
) as dag:
    series = EarthEngineTimeSeriesOperator(
        task_id="fetch_series",
        collection="{{ params.collection }}",
        bands="{{ params.band }}",
        region="{{ params.region }}",
        group_by="{{ params.rows }}",
        quality="{{ params.quality }}",
        scale="{{ params.scale }}",
        crs="{{ params.crs }}",
        lookback=timedelta(days=32),
        # What is left of a composite under clouds says little of the area: a gap is more honest than its mean.
        min_valid_fraction=0.1,
        table_uri="{{ params.output_uri }}/ndvi",
        raster_uri="{{ params.output_uri }}/rasters",
        max_concurrency=CONCURRENCY,
        pool="earth_engine",
        pool_slots=CONCURRENCY,
        outlets=[Asset("ndvi_modis_timeseries")],
    )
    chart = EarthEngineTimeSeriesChartOperator(
        task_id="draw_chart",
        table_uri="{{ params.output_uri }}/ndvi",
        chart_uri="{{ params.output_uri }}/ndvi.png",
        title="{{ params.title or params.band ~ ', ' ~ params.collection }}",
        band="{{ params.band.split(',')[0] }}",
        region_id="{{ ti.xcom_pull('fetch_series')['region_id'] }}",
        attribution="{{ params.attribution or 'Google Earth Engine, ' ~ params.collection }}",
    )
    series >> chart

if __name__ == "__main__":
    dag.test()
