"""
### NDVI of a large area, by Spark on Dataproc

The monthly mean of `ndvi_large_area`, whose tiles a cluster of Dataproc has fetched. `write_job` checks the request, tells what it costs, and writes a
job file; `upload_launcher` puts the script where the cluster finds it; `run_on_dataproc` submits it; `commit` fails while a tile is missing, and
tells where the file is. A retry does only what is missing.

Google's provider is all that Airflow needs. The cluster needs `gs://BUCKET/airflow-ee/environment.tar.gz`, a packed environment made of
`workers/spark.lock` and this package. Each tile is fetched with the credentials of the cluster's service account.

**By hand**: trigger with `start`, `end`, `bucket`, `project`, `location` and `cluster` in the form.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.google.cloud.operators.dataproc import DataprocSubmitJobOperator
from airflow.providers.google.cloud.transfers.local_to_gcs import LocalFilesystemToGCSOperator
from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.engines.launchers import SPARK_JOB
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.pixels import EarthEngineCommitJobOperator, EarthEngineWriteJobOperator

# All workers together; the pool's slots are requests.
REQUESTS_AT_ONCE = 16


def monthly_mean(context: Any, collection: str, band: str) -> Any:
    """The mean of the run's interval, as stored digital numbers; a pixel is valid where any image is."""
    import ee

    start, end = resolve_interval(context)
    images = ee.ImageCollection(collection).filterDate(start.isoformat(), end.isoformat())
    return images.select(band).mean().round().toInt16()


with DAG(
    dag_id="ndvi_large_area_dataproc",
    description="A large area's monthly NDVI, fetched by Spark on Dataproc",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 5 1 * *", timezone="UTC"),
    start_date=datetime(2001, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "pool": "earth_engine"},
    tags=["earth engine", "ndvi", "dataproc"],
    params={
        "region": Param(
            "-58.0,-16.0,-54.0,-12.0", type="string", title="Area", description="west,south,east,north in degrees"
        ),
        "collection": Param("MODIS/061/MOD13Q1", type="string", title="Collection", description="Asset id"),
        "band": Param("NDVI", type="string", title="Band"),
        "scale": Param(250, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "start": Param(None, type=["string", "null"], format="date", title="First day"),
        "end": Param(None, type=["string", "null"], format="date", title="Day after the last"),
        "bucket": Param("my-bucket", type="string", title="Bucket", description="Of output, job file and launcher"),
        "project": Param("my-project", type="string", title="Project of the cluster"),
        "location": Param("europe-west1", type="string", title="Region of the cluster"),
        "cluster": Param("my-cluster", type="string", title="Cluster"),
    },
) as dag:
    name = (
        "gs://{{ params.bucket }}/large_area/ndvi_"
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
    upload = LocalFilesystemToGCSOperator(
        task_id="upload_launcher", src=SPARK_JOB, bucket="{{ params.bucket }}", dst="airflow-ee/spark_job.py"
    )
    run = DataprocSubmitJobOperator(
        task_id="run_on_dataproc",
        project_id="{{ params.project }}",
        region="{{ params.location }}",
        # A request that is sent again, because its answer was lost, starts no second job; another try of the task does.
        request_id="{{ macros.uuid.uuid5(macros.uuid.NAMESPACE_URL, run_id ~ '/' ~ ti.try_number) }}",
        job={
            "placement": {"cluster_name": "{{ params.cluster }}"},
            "pyspark_job": {
                "main_python_file_uri": "gs://{{ params.bucket }}/airflow-ee/spark_job.py",
                "args": ["--job", name + ".job.json"],
                "archive_uris": ["gs://{{ params.bucket }}/airflow-ee/environment.tar.gz#environment"],
                "properties": {
                    # The driver too runs in a container of the cluster: only there archives are unpacked.
                    "spark.submit.deployMode": "cluster",
                    "spark.pyspark.python": "environment/bin/python",
                    # Their product is how many processes share the quota.
                    "spark.dynamicAllocation.enabled": "true",
                    "spark.dynamicAllocation.maxExecutors": "4",
                    "spark.executor.cores": "2",
                },
            },
        },
        pool_slots=REQUESTS_AT_ONCE,
    )
    commit = EarthEngineCommitJobOperator(
        task_id="commit", job_uri=name + ".job.json", outlets=[Asset("ndvi_large_area")]
    )
    [write, upload] >> run >> commit

if __name__ == "__main__":
    dag.test()
