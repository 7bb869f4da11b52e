"""Exports and sensors for a live Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_ee.operators.export import (
    EarthEngineExportClassifierOperator,
    EarthEngineExportCollectionOperator,
    EarthEngineExportImageOperator,
    EarthEngineExportMapOperator,
    EarthEngineExportTableOperator,
    EarthEngineExportVideoOperator,
)
from airflow_ee.sensors.operation import EarthEngineOperationSensor

IMAGE = {"result": "0", "values": {"0": {"functionInvocationValue": {
    "functionName": "Image.constant", "arguments": {"value": {"constantValue": 7}}}}}}  # fmt: skip
GRID = {
    "crsCode": "EPSG:4326",
    "dimensions": {"width": 8, "height": 6},
    "affineTransform": {"scaleX": 0.01, "translateX": -55.6, "scaleY": -0.01, "translateY": -12.0},
}


# Airflow fails a try that goes on after a deferral when its scheduler is slow to hear that the try before has ended ("finished with
# state success, but the task instance's state attribute is running"): nightly tasks have retries, and so have these.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}


def export(task_id, **options):
    return EarthEngineExportImageOperator(
        task_id=task_id,
        expression=IMAGE,
        grid=GRID,
        destination_uri="gs://live-bucket/{{ dag.dag_id }}/{{ ti.task_id }}",
        poll_interval=1.0,
        **options,
    )


with DAG(dag_id="export_deferred", schedule=None, start_date=datetime(2024, 1, 1), default_args=AGAIN) as deferred:
    export("export", deferrable=True)

with DAG(dag_id="sensors", schedule=None, start_date=datetime(2024, 1, 1), default_args=AGAIN) as sensors:
    started = export("start_export", wait_for_completion=False, deferrable=False)
    for mode, how in {
        "poke": {"mode": "poke"},
        "reschedule": {"mode": "reschedule"},
        "deferred": {"deferrable": True},
    }.items():
        EarthEngineOperationSensor(
            task_id=f"wait_{mode}", operation_name=started.output, poke_interval=1.0, timeout=120, **how
        )


with DAG(dag_id="every_image", schedule=None, start_date=datetime(2024, 1, 1), default_args=AGAIN) as every_image:
    EarthEngineExportCollectionOperator(
        task_id="export",
        collection="MODIS/061/MOD13Q1",
        start="2023-01-01",
        end="2023-05-01",
        bands=["NDVI"],
        grid=GRID,
        destination_uri="gs://live-bucket/every_image/{index}",
        max_concurrent_operations=3,
        deferrable=True,
        poll_interval=1.0,
    )


def call(name, **arguments):
    wrapped = {key: value if isinstance(value, dict) else {"constantValue": value} for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": wrapped}}


def graph(node):
    return {"result": "0", "values": {"0": node}}


def several(*nodes):
    return {"arrayValue": {"values": list(nodes)}}


POINT = call("GeometryConstructors.Point", coordinates=[9.0, 48.0])
FEATURE = call("Feature", geometry=POINT, metadata={"dictionaryValue": {"values": {"a": {"constantValue": 1}}}})
TABLE = graph(call("Collection", features=several(FEATURE)))
PICTURE = call("Image.visualize", image=call("Image.constant", value=[1, 2, 3]), min=0, max=3)
FRAMES = graph(call("ImageCollection.fromImages", images=several(PICTURE, PICTURE)))
ASSETS = "projects/demo-project/assets/"
FILES = "gs://live-bucket/{{ dag.dag_id }}/{{ ti.task_id }}"

with DAG(dag_id="every_kind", schedule=None, start_date=datetime(2024, 1, 1), default_args=AGAIN) as every_kind:
    image = {"expression": IMAGE, "grid": GRID, "poll_interval": 0.5}
    for name, options in {
        "image_drive": {"destination_uri": "drive://folder/image"},
        "image_asset": {"destination_uri": ASSETS + "image"},
        "image_tfrecord": {"destination_uri": FILES, "file_format": "TF_RECORD_IMAGE", "tf_record_options": {"tileDimensions": {"width": 4, "height": 3}}},
    }.items():  # fmt: skip
        EarthEngineExportImageOperator(task_id=name, deferrable=name == "image_asset", **image, **options)
    export("image_geotiff")
    table = {"expression": TABLE, "poll_interval": 0.5}
    for form in ("CSV", "GEO_JSON", "KML", "KMZ", "SHP", "TF_RECORD_TABLE"):
        EarthEngineExportTableOperator(
            task_id=f"table_{form.lower()}", destination_uri=FILES, file_format=form, **table
        )
    for name, options in {
        "table_drive": {"destination_uri": "drive://folder/table"},
        "table_asset": {"destination_uri": ASSETS + "table"},
        "table_bigquery": {"destination_uri": "bigquery://demo-project.fields.live"},
        "table_feature_view": {"destination_uri": ASSETS + "view", "feature_view": True},
    }.items():
        EarthEngineExportTableOperator(task_id=name, **table, **options)
    EarthEngineExportMapOperator(
        task_id="map", expression=graph(PICTURE), destination_uri=FILES, end_zoom=1, poll_interval=0.5
    )
    EarthEngineExportVideoOperator(task_id="video", expression=FRAMES, destination_uri=FILES, poll_interval=0.5)
    EarthEngineExportClassifierOperator(
        task_id="classifier",
        expression=graph(call("Classifier.smileCart")),
        destination_uri=ASSETS + "classifier",
        poll_interval=0.5,
    )
