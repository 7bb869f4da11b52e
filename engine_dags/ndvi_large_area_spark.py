"""
### NDVI of a large area, by Spark

The monthly mean of `ndvi_large_area`, whose tiles Spark has fetched. `write_job` checks the request, tells what it costs, and writes a job file;
`run_on_spark` is the Spark provider's own operator, which submits this package's launcher; `commit` fails while a tile is missing, and tells
where the file is. A retry does only what is missing.

Needs `apache-airflow-providers-apache-spark`, `spark-submit` on the worker's path with a `python3` that has this package (an environment made of
`workers/spark.lock`), and a connection `spark_default`: `{"conn_type": "spark", "host": "local[2,4]"}`, or `"yarn"`.

**By hand**: trigger with `start` and `end` in the form.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.engines.launchers import SPARK_JOB
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.pixels import EarthEngineCommitJobOperator, EarthEngineWriteJobOperator

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
# All workers together; the pool's slots are requests.
REQUESTS_AT_ONCE = 16


def monthly_mean(context: Any, collection: str, band: str) -> Any:
    """The mean of the run's interval, as stored digital numbers; a pixel is valid where any image is."""
    import ee

    start, end = resolve_interval(context)
    images = ee.ImageCollection(collection).filterDate(start.isoformat(), end.isoformat())
    return images.select(band).mean().round().toInt16()


with DAG(
    dag_id="ndvi_large_area_spark",
    description="A large area's monthly NDVI, fetched by Spark",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 5 1 * *", timezone="UTC"),
    start_date=datetime(2001, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "pool": "earth_engine"},
    tags=["earth engine", "ndvi", "spark"],
    params={
        "region": Param(
            "-58.0,-16.0,-54.0,-12.0", type="string", title="Area", description="west,south,east,north in degrees"
        ),
        "collection": Param("MODIS/061/MOD13Q1", type="string", title="Collection", description="Asset id"),
        "band": Param("NDVI", type="string", title="Band"),
        "scale": Param(250, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "start": Param(None, type=["string", "null"], format="date", title="First day"),
        "end": Param(None, type=["string", "null"], format="date", title="Day after the last"),
        "output_uri": Param(OUTPUT, type="string", title="Folder", description="A disk that all have, or gs://"),
    },
) as dag:
    name = (
        "{{ params.output_uri }}/large_area/ndvi_spark_"
        "{{ params.start or data_interval_start | ds }}_{{ params.end or data_interval_end | ds }}"
    )
    write = EarthEngineWriteJobOperator(
        task_id="write_job",
        expression=monthly_mean,
        expression_kwargs={"collection": "{{ params.collection }}", "band": "{{ params.band }}"},
        region="{{ params.region }}",
        scale="{{ params.scale }}",
        crs="EPSG:4326",
        max_pixels=2_000_000_000,
        max_concurrency=REQUESTS_AT_ONCE,
        output_uri=name + ".tif",
        job_uri=name + ".job.json",
        outside_airflow=True,
    )
    run = SparkSubmitOperator(
        task_id="run_on_spark",
        name="ndvi-large-area",
        application=SPARK_JOB,
        application_args=["--job", name + ".job.json"],
        # Their product is how many processes share the quota on a cluster; of local[n] there are n.
        conf={"spark.executor.instances": "4", "spark.executor.cores": "2"},
        pool_slots=REQUESTS_AT_ONCE,
    )
    commit = EarthEngineCommitJobOperator(
        task_id="commit", job_uri=name + ".job.json", outlets=[Asset("ndvi_large_area")]
    )
    write >> run >> commit

if __name__ == "__main__":
    dag.test()
