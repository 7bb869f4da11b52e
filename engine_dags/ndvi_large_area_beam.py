"""
### NDVI of a large area, by Apache Beam

The monthly mean of `ndvi_large_area`, whose tiles Beam has fetched: on the worker's own machine, or on Dataflow. `write_job` checks the
request, tells what it costs, and writes a job file; `run_on_beam` is the Beam provider's own operator; `commit` fails while a tile is missing,
and tells where the file is. A retry does only what is missing.

Needs `apache-airflow-providers-apache-beam`. On Dataflow each tile is fetched with the credentials of Dataflow's service account, and `output_uri`
is a `gs://` folder.

**By hand**: trigger with `start` and `end` in the form, and for Dataflow `runner`, `project`, `location` and `image`.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.engines.launchers import BEAM_JOB
from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.pixels import EarthEngineCommitJobOperator, EarthEngineWriteJobOperator

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
# A Python with Beam and this package: Airflow's own, or an environment made of workers/beam.lock.
PYTHON = os.environ.get("AIRFLOW_EE_BEAM_PYTHON", sys.executable)
# All workers together; the pool's slots are requests.
REQUESTS_AT_ONCE = 16


def monthly_mean(context: Any, collection: str, band: str) -> Any:
    """The mean of the run's interval, as stored digital numbers; a pixel is valid where any image is."""
    import ee

    start, end = resolve_interval(context)
    images = ee.ImageCollection(collection).filterDate(start.isoformat(), end.isoformat())
    return images.select(band).mean().round().toInt16()


with DAG(
    dag_id="ndvi_large_area_beam",
    description="A large area's monthly NDVI, fetched by Beam here or on Dataflow",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 5 1 * *", timezone="UTC"),
    start_date=datetime(2001, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "pool": "earth_engine"},
    tags=["earth engine", "ndvi", "beam"],
    params={
        "region": Param(
            "-58.0,-16.0,-54.0,-12.0", type="string", title="Area", description="west,south,east,north in degrees"
        ),
        "collection": Param("MODIS/061/MOD13Q1", type="string", title="Collection", description="Asset id"),
        "band": Param("NDVI", type="string", title="Band"),
        "scale": Param(250, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "start": Param(None, type=["string", "null"], format="date", title="First day"),
        "end": Param(None, type=["string", "null"], format="date", title="Day after the last"),
        "output_uri": Param(OUTPUT, type="string", title="Folder", description="Local path, or gs:// for Dataflow"),
        "runner": Param("DirectRunner", enum=["DirectRunner", "DataflowRunner"], title="Beam's runner"),
        "workers": Param(4, type="integer", minimum=1, title="Machines of Dataflow, at most"),
        "project": Param(None, type=["string", "null"], title="Project of Dataflow", description="Empty: as connected"),
        "location": Param("europe-west1", type="string", title="Region of Dataflow"),
        "image": Param(
            None,
            type=["string", "null"],
            title="Container image of Dataflow's workers",
            description="With this package",
        ),
    },
    render_template_as_native_obj=True,
) as dag:
    name = (
        "{{ params.output_uri }}/large_area/ndvi_beam_"
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
    run = BeamRunPythonPipelineOperator(
        task_id="run_on_beam",
        py_file=BEAM_JOB,
        py_interpreter=PYTHON,
        runner="{{ params.runner }}",
        pipeline_options={
            "job": name + ".job.json",
            # Of the local runner; each runner takes what is its own.
            "direct_running_mode": "multi_threading",
            "direct_num_workers": 2,
            # Of Dataflow, which the operator watches by itself. Machines of one core are one process each: they share the quota.
            "submit_only": "{{ params.runner == 'DataflowRunner' }}",
            "max_num_workers": "{{ params.workers }}",
            "machine_type": "n1-standard-1",
            "temp_location": "{{ params.output_uri }}/large_area/dataflow",
            "sdk_container_image": "{{ params.image }}",
        },
        dataflow_config={
            "job_name": "ndvi-large-area",
            "project_id": "{{ params.project }}",
            "location": "{{ params.location }}",
        },
        pool_slots=REQUESTS_AT_ONCE,
    )
    commit = EarthEngineCommitJobOperator(
        task_id="commit", job_uri=name + ".job.json", outlets=[Asset("ndvi_large_area")]
    )
    write >> run >> commit

if __name__ == "__main__":
    dag.test()
