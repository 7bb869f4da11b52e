"""A collection of tiny images, one a day, and what a task needs to export it."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio

COLLECTION = "farm/field"
FIRST = date(2010, 1, 1)


def day(number: int) -> date:
    """The day of the image of this number."""
    return FIRST + timedelta(days=number)


def image_id(number: int) -> str:
    """The id of the image of this number."""
    return f"{COLLECTION}/{day(number):%Y_%m_%d}"


def write_images(folder: Path, count: int) -> Path:
    """Write images of 4 x 4 pixels, all alike, one a day."""
    folder.mkdir(parents=True)
    first = folder / f"{day(0):%Y_%m_%d}.tif"
    grid = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_200_000)}
    with rasterio.open(
        first, "w", driver="GTiff", width=4, height=4, count=2, dtype="uint16", tiled=False, **grid
    ) as file:
        file.descriptions = ("red", "nir")
        file.write(np.arange(32, dtype="uint16").reshape(2, 4, 4))
    for number in range(1, count):
        shutil.copy(first, folder / f"{day(number):%Y_%m_%d}.tif")
    return folder
