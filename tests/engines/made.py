"""Jobs of many tiles or shards against an emulator, for tests of engines; workers of every engine may import nothing of the tests."""

from dataclasses import replace
from pathlib import Path

from airflow_ee.core.client_reference import ClientReference, CredentialReference
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.job import PatchWork, PixelJob, RasterWork
from airflow_ee.core.settings import ClientSettings, Limits
from tests.core import jobs

RASTERS = ("COG", "GEO_TIFF", "ZARR", "TF_RECORD")
PATCHES = "PATCHES"
BLOCK = 512


def reference(url, **settings):
    """A client of the emulator, which asks for a block of pixels at a time."""
    settings = {
        "endpoint": url,
        "high_volume_endpoint": url,
        "retry": jobs.QUICK,
        "request_timeout_seconds": 30,
        "requests_per_second": 1e4,
        "limits": Limits(target_bytes=BLOCK * BLOCK * jobs.BYTES_PER_PIXEL),
        **settings,
    }
    return ClientReference(
        settings=ClientSettings(project="demo-project", **settings), credentials=CredentialReference(kind="anonymous")
    )


def raster_job(url, target, form, *, tiles=40, source=jobs.SOURCE, max_concurrency=None, **settings):
    """A raster of so many tiles, eight beside one another, the last ones smaller than the others."""
    grid = PixelGrid(
        crs="EPSG:32721",
        transform=(10, 0, 600_000, 0, -10, 8_700_000),
        width=BLOCK * min(tiles, 8) - 100,
        height=BLOCK * -(-tiles // 8) - 50,
    )
    target = Path(target) / "out"
    work = RasterWork(
        target=jobs.place(target), source=source, grid=grid, file=ImageFile(file_format=form), max_concurrency=max_concurrency
    )  # fmt: skip
    return PixelJob(client=reference(url, **settings), output_uri=str(target), work=work)


def patch_job(url, target, *, points=500, shards=20, **settings):
    """TFRecords of patches around so many points."""
    dataset = jobs.patches(target, points=points, shards=shards)
    client = reference(url, **settings)
    dataset = replace(dataset, plan=replace(dataset.plan, limits=client.settings.limits))
    return PixelJob(client=client, output_uri=str(Path(target) / "out"), work=PatchWork(dataset=dataset))


def job(url, target, form, **options):
    """Either."""
    return patch_job(url, target, **options) if form == PATCHES else raster_job(url, target, form, **options)
