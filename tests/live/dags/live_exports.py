"""Exports and sensors for a live Airflow."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from airflow_ee.operators.export import EarthEngineExportImageOperator
from airflow_ee.sensors.operation import EarthEngineOperationSensor

IMAGE = {"result": "0", "values": {"0": {"functionInvocationValue": {
    "functionName": "Image.constant", "arguments": {"value": {"constantValue": 7}}}}}}  # fmt: skip
GRID = {
    "crsCode": "EPSG:4326",
    "dimensions": {"width": 8, "height": 6},
    "affineTransform": {"scaleX": 0.01, "translateX": -55.6, "scaleY": -0.01, "translateY": -12.0},
}


def export(task_id, **options):
    return EarthEngineExportImageOperator(
        task_id=task_id,
        expression=IMAGE,
        grid=GRID,
        destination_uri="gs://live-bucket/{{ dag.dag_id }}/{{ ti.task_id }}",
        poll_interval=1.0,
        **options,
    )


with DAG(dag_id="export_deferred", schedule=None, start_date=datetime(2024, 1, 1)) as deferred:
    export("export", deferrable=True)

with DAG(dag_id="sensors", schedule=None, start_date=datetime(2024, 1, 1)) as sensors:
    started = export("start_export", wait_for_completion=False, deferrable=False)
    for mode, how in {
        "poke": {"mode": "poke"},
        "reschedule": {"mode": "reschedule"},
        "deferred": {"deferrable": True},
    }.items():
        EarthEngineOperationSensor(
            task_id=f"wait_{mode}", operation_name=started.output, poke_interval=1.0, timeout=120, **how
        )
