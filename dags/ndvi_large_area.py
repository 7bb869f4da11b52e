"""
### NDVI of a large area, on as many workers as there are

A monthly mean of NDVI over an area that one task would take long for, as one Cloud Optimized GeoTIFF. `write_job` checks the
request, tells what it costs, and writes a job file; `fetch` is mapped over the job's parts, each of which fetches and stores its
tiles; `commit` puts the file together when all are there. A part that is retried fetches only what is missing, and nothing is seen
under the final name before it is whole.

The same job file can be run by Dask, Spark or Beam in place of the mapped tasks: `python -m airflow_ee.engines.dask --job FILE`.

**By hand**: trigger with `start` and `end` in the form.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.pixels import (
    EarthEngineCommitJobOperator,
    EarthEngineRunJobPartOperator,
    EarthEngineWriteJobOperator,
)

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
# So many parts run at once, and share the connection's quota; the pool's slots are requests.
TASKS_AT_ONCE, REQUESTS_AT_ONCE = 4, 8


def monthly_mean(context: Any, collection: str, band: str) -> Any:
    """The mean of the run's interval, as stored digital numbers; a pixel is valid where any image is."""
    import ee

    start, end = resolve_interval(context)
    images = ee.ImageCollection(collection).filterDate(start.isoformat(), end.isoformat())
    return images.select(band).mean().round().toInt16()


with DAG(
    dag_id="ndvi_large_area",
    description="A large area's monthly NDVI, cut into parts for many workers",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 5 1 * *", timezone="UTC"),
    start_date=datetime(2001, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "pool": "earth_engine",
    },
    tags=["earth engine", "ndvi", "modis"],
    params={
        "region": Param(
            "-58.0,-16.0,-54.0,-12.0",
            type="string",
            pattern=r"^\s*-?[0-9.]+\s*(,\s*-?[0-9.]+\s*){3}$",
            title="Area",
            description="west,south,east,north in degrees",
        ),
        "collection": Param("MODIS/061/MOD13Q1", type="string", title="Collection", description="Asset id"),
        "band": Param("NDVI", type="string", title="Band"),
        "scale": Param(250, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "crs": Param("EPSG:4326", type="string", title="CRS", description="In which the image is written"),
        "parts": Param(8, type="integer", minimum=1, maximum=1024, title="Parts", description="Mapped tasks"),
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
    },
    render_template_as_native_obj=True,
) as dag:
    name = (
        "{{ params.output_uri }}/large_area/ndvi_"
        "{{ params.start or data_interval_start | ds }}_{{ params.end or data_interval_end | ds }}"
    )
    write = EarthEngineWriteJobOperator(
        task_id="write_job",
        expression=monthly_mean,
        expression_kwargs={"collection": "{{ params.collection }}", "band": "{{ params.band }}"},
        region="{{ params.region }}",
        scale="{{ params.scale }}",
        crs="{{ params.crs }}",
        parts="{{ params.parts }}",
        max_pixels=2_000_000_000,
        output_uri=name + ".tif",
        job_uri=name + ".job.json",
    )
    fetch = EarthEngineRunJobPartOperator.partial(
        task_id="fetch",
        tasks_at_once=TASKS_AT_ONCE,
        max_active_tis_per_dagrun=TASKS_AT_ONCE,
        max_concurrency=REQUESTS_AT_ONCE,
        pool_slots=REQUESTS_AT_ONCE,
    ).expand_kwargs(write.output)
    commit = EarthEngineCommitJobOperator(
        task_id="commit", job_uri=name + ".job.json", outlets=[Asset("ndvi_large_area")]
    )
    fetch >> commit

if __name__ == "__main__":
    dag.test()
