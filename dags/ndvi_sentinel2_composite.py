"""
### Cloud-masked NDVI composite of Sentinel-2

Every month: the median of all Sentinel-2 images of the month over an area, clouds, their shadows and haze taken out by
Cloud Score+ (`cs_cdf >= 0.60`; an image without a score counts as clouded), written as a Cloud Optimized GeoTIFF of NDVI and a true-colour quicklook.

The expression is ordinary `ee` code in a function: it runs in the worker, after the connection has initialised `ee`.

**By hand**: trigger with `start` and `end` in the form.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_ee.operators.dates import resolve_interval
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
CONCURRENCY = 8
# The threshold that the catalogue page of Cloud Score+ gives.
SCORES = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
CLEAR = 0.60


def composite(context: Any, region: str, collection: str) -> Any:
    """The median of the clear pixels of the run's interval."""
    import ee

    start, end = resolve_interval(context)
    area = ee.Geometry.Rectangle([float(edge) for edge in region.split(",")], geodesic=False)

    def of_the_month(collection_id: str) -> Any:
        return ee.ImageCollection(collection_id).filterBounds(area).filterDate(start.isoformat(), end.isoformat())

    def clear(image: Any) -> Any:
        return image.updateMask(image.select("cs_cdf").gte(CLEAR)).select(["B4", "B3", "B2", "B8"])

    return of_the_month(collection).linkCollection(of_the_month(SCORES), ["cs_cdf"]).map(clear).median()


def ndvi(context: Any, region: str, collection: str) -> Any:
    """NDVI of the composite, -1 to 1, float."""
    return composite(context, region, collection).normalizedDifference(["B8", "B4"]).rename("NDVI").toFloat()


with DAG(
    dag_id="ndvi_sentinel2_composite",
    description="A cloud-free monthly NDVI image of Sentinel-2, with a quicklook",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 7 1 * *", timezone="UTC"),
    start_date=datetime(2017, 4, 1),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["earth engine", "ndvi", "sentinel-2"],
    params={
        "region": Param(
            "-4.90,41.76,-4.86,41.79",
            type="string",
            pattern=r"^\s*-?[0-9.]+\s*(,\s*-?[0-9.]+\s*){3}$",
            title="Area",
            description="west,south,east,north in degrees",
        ),
        "collection": Param(
            "COPERNICUS/S2_SR_HARMONIZED",
            type="string",
            title="Collection",
            description="With bands B4, B3, B2 and B8; take harmonized ones, plain ones jump by 1000 in January 2022",
        ),
        "band": Param("NDVI", const="NDVI", type="string", title="Band"),
        "scale": Param(10, type="number", exclusiveMinimum=0, title="Scale", description="Metres a pixel"),
        "crs": Param("EPSG:32630", type="string", title="CRS", description="The UTM zone of the area"),
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
) as dag:
    common = {
        "expression_kwargs": {"region": "{{ params.region }}", "collection": "{{ params.collection }}"},
        "region": "{{ params.region }}",
        "scale": "{{ params.scale }}",
        "crs": "{{ params.crs }}",
        "max_concurrency": CONCURRENCY,
        "pool": "earth_engine",
        "pool_slots": CONCURRENCY,
    }
    month = "{{ params.start or data_interval_start | ds }}_{{ params.end or data_interval_end | ds }}"
    EarthEngineComputePixelsOperator(
        task_id="compute_ndvi",
        expression=ndvi,
        bands=["NDVI"],
        output_uri="{{ params.output_uri }}/sentinel2/ndvi_" + month + ".tif",
        outlets=[Asset("ndvi_sentinel2_composite")],
        **common,
    ) >> EarthEngineComputePixelsOperator(
        task_id="draw_quicklook",
        expression=composite,
        bands=["B4", "B3", "B2"],
        file_format="PNG",
        visualization_options={"ranges": [{"min": 0, "max": 3000}]},
        output_uri="{{ params.output_uri }}/sentinel2/quicklook_" + month + ".png",
        **common,
    )

if __name__ == "__main__":
    dag.test()
