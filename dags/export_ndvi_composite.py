"""
### Export of an NDVI composite

The mean NDVI of a year as a batch export of Earth Engine, in the two ways in which Airflow can wait for one:

- `export_deferred`: the operator starts the export, gives its worker slot back and ends when the export has ended.
- `start_export`, then `wait_for_export`: the operator starts the export and ends at once; a sensor waits.

Exports are for what is too large for pixel requests: they have days instead of minutes, and an export starts once,
whatever happens to workers and retries.

**By hand**: trigger with `start` and `end` in the form.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.export import EarthEngineExportImageOperator
from airflow_ee.sensors.operation import EarthEngineOperationSensor

BUCKET = os.environ.get("AIRFLOW_EE_BUCKET", "demo-bucket")


def mean_ndvi(context: Any, collection: str, band: str) -> Any:
    """Mean of the run's interval, good and marginal pixels only, -0.2 to 1."""
    import ee

    start, end = resolve_interval(context)

    def good(image: Any) -> Any:
        return image.updateMask(image.select("SummaryQA").lte(1)).select(band)

    images = ee.ImageCollection(collection).filterDate(start.isoformat(), end.isoformat())
    return images.map(good).mean().multiply(0.0001).rename(band).toFloat()


with DAG(
    dag_id="export_ndvi_composite",
    description="A year's mean NDVI exported to Cloud Storage, deferred and with a sensor",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 8 1 2 *", timezone="UTC"),
    start_date=datetime(2001, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "pool": "earth_engine",
        "pool_slots": 1,
    },
    tags=["earth engine", "ndvi", "export"],
    params={
        "region": Param(
            "-55.60,-12.10,-55.45,-11.95", type="string", title="Area", description="west,south,east,north or GeoJSON"
        ),
        "collection": Param("MODIS/061/MOD13Q1", type="string", title="Collection"),
        "band": Param("NDVI", enum=["NDVI", "EVI"], type="string", title="Band"),
        "scale": Param(250, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "crs": Param("EPSG:4326", type="string", title="CRS"),
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
        "bucket": Param(BUCKET, type="string", title="Bucket", description="Of Cloud Storage"),
    },
) as dag:
    year = "{{ params.start or data_interval_start | ds }}"
    common = {
        "expression": mean_ndvi,
        "expression_kwargs": {"collection": "{{ params.collection }}", "band": "{{ params.band }}"},
        "region": "{{ params.region }}",
        "scale": "{{ params.scale }}",
        "crs": "{{ params.crs }}",
        # Without it the service writes masked pixels as 0, like any other 0.
        "no_data": -9999,
        "poll_interval": 10.0,
    }
    EarthEngineExportImageOperator(
        task_id="export_deferred",
        destination_uri="gs://{{ params.bucket }}/ndvi/mean_" + year,
        description="ndvi_mean_deferred",
        deferrable=True,
        outlets=[Asset("ndvi_annual_mean")],
        **common,
    )
    started = EarthEngineExportImageOperator(
        task_id="start_export",
        destination_uri="gs://{{ params.bucket }}/ndvi/mean_sensor_" + year,
        description="ndvi_mean_with_sensor",
        wait_for_completion=False,
        deferrable=False,
        **common,
    )
    EarthEngineOperationSensor(
        task_id="wait_for_export",
        operation_name=started.output,
        mode="reschedule",
        poke_interval=10.0,
        timeout=timedelta(hours=12).total_seconds(),
    )

if __name__ == "__main__":
    dag.test()
