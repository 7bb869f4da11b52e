"""
### Training patches

Pixels around points, with their labels and masks, as TFRecord shards that a training job reads as they are. Two ways of making
them, each a task:

- `stored_patches`: patches of every stored image of the interval (MODIS MOD13Q1), on the images' own pixels.
- `composite_patches`: patches of one computed image, the median of the interval's Sentinel-2 images without clouds, each in
  the UTM zone of its point.

The points come from a file (`.geojson`, `.csv`, `.parquet`) or a table asset, with the labels named in the form; or they are
drawn evenly over an area, the same ones for the same seed. Order is kept, and a run that was killed goes on where it was.
`dataset.json` beside the shards says how to read them.

**By hand**: trigger with `start` and `end` in the form.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.patches import EarthEnginePatchesOperator

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
CONCURRENCY = 8
# SCL: cloud shadow, cloud of medium and of high probability, cirrus.
CLOUDY = [3, 8, 9, 10]


def clear_median(context: Any, collection: str) -> Any:
    """The median of the clear pixels of the run's interval: blue, green, red, near infrared."""
    import ee

    start, end = resolve_interval(context)
    edges = [float(edge) for edge in context["params"]["region"].split(",")]

    def clear(image: Any) -> Any:
        classes = image.select("SCL")
        mask = classes.neq(CLOUDY[0])
        for number in CLOUDY[1:]:
            mask = mask.And(classes.neq(number))
        return image.updateMask(mask).select(["B2", "B3", "B4", "B8"])

    images = (
        ee.ImageCollection(collection)
        .filterBounds(ee.Geometry.Rectangle(edges, geodesic=False))
        .filterDate(start.isoformat(), end.isoformat())
    )
    return images.map(clear).median().toFloat()


with DAG(
    dag_id="training_patches",
    description="Patches of stored images and of a composite around labelled points, as TFRecord shards",
    doc_md=__doc__,
    # A plain cron string would give intervals without length, and so no dates.
    schedule=CronDataIntervalTimetable("0 9 1 * *", timezone="UTC"),
    start_date=datetime(2017, 4, 1),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["earth engine", "training", "tfrecord"],
    params={
        "points": Param(
            None,
            type=["string", "null"],
            title="Points",
            description="A .geojson, .csv or .parquet file, or a table asset; empty: random ones in the area",
        ),
        "labels": Param(
            None, type=["string", "null"], title="Labels", description="Properties of the points, separated by commas"
        ),
        "region": Param(
            "-55.60,-12.10,-55.45,-11.95",
            type="string",
            pattern=r"^\s*-?[0-9.]+\s*(,\s*-?[0-9.]+\s*){3}$",
            title="Area",
            description="west,south,east,north in degrees: of random points, and of the images of the composite",
        ),
        "count": Param(20, type="integer", minimum=1, title="Random points"),
        "seed": Param(7, type="integer", minimum=0, title="Seed", description="Of random points"),
        "patch_size": Param(64, type="integer", minimum=1, title="Patch size", description="Pixels along a side"),
        "collection": Param(
            "MOD13Q1",
            type="string",
            title="Collection",
            description="Of stored patches: a preset's name or an asset id",
        ),
        "band": Param("NDVI,EVI", type="string", title="Bands", description="Of stored patches, separated by commas"),
        "composite": Param(
            "COPERNICUS/S2_SR_HARMONIZED",
            type="string",
            title="Collection of the composite",
            description="With bands B2, B3, B4, B8 and SCL; take harmonized ones, plain ones jump by 1000 in January 2022",
        ),
        "scale": Param(
            10, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel of the composite"
        ),
        "on_masked": Param(
            "keep",
            enum=["keep", "skip", "fail"],
            type="string",
            title="Masked patches",
            description="What becomes of patches without a valid pixel",
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
    },
    render_template_as_native_obj=True,
) as dag:
    interval = "{{ params.start or data_interval_start | ds }}_{{ params.end or data_interval_end | ds }}"
    common = {
        "points": "{{ params.points or dict(count=params.count, region=params.region, seed=params.seed) }}",
        "label_properties": "{{ params.labels }}",
        "patch_size": "{{ params.patch_size }}",
        "on_masked": "{{ params.on_masked }}",
        "max_concurrency": CONCURRENCY,
        "pool": "earth_engine",
        "pool_slots": CONCURRENCY,
    }
    EarthEnginePatchesOperator(
        task_id="stored_patches",
        images="{{ params.collection }}",
        bands="{{ params.band }}",
        output_uri="{{ params.output_uri }}/patches/stored_" + interval,
        outlets=[Asset("training_patches_stored")],
        **common,
    )
    EarthEnginePatchesOperator(
        task_id="composite_patches",
        expression=clear_median,
        expression_kwargs={"collection": "{{ params.composite }}"},
        scale="{{ params.scale }}",
        output_uri="{{ params.output_uri }}/patches/composite_" + interval,
        outlets=[Asset("training_patches_composite")],
        **common,
    )

if __name__ == "__main__":
    dag.test()
