"""What is read: an image of any size that takes no room, reflectance-like and masked in places, and a series of small ones.

The image is a GDAL virtual raster that repeats one field of 2048 x 2048 pixels, so that the emulator computes every request from
real files. Values are a smooth surface with noise, rounded to 0.0001 as reflectances are: neither constant nor noise alone, because
codecs, and a peer that gets its pixels compressed, depend on it.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine

FIELD = 2048
BANDS = ("B2", "B3", "B4", "B8", "B11")
NODATA = -9999.0
CRS = "EPSG:32632"
PIXEL_METRES = 10
LEFT, TOP = 600_000, 5_200_000
SERIES_SIDE = 64
PATCH_SIDE = 128
PATCH_IMAGE_SIDE = 16_384
PROJECT = "demo-project"
DAY = "20200101"


def collection_id(bands: int, side: int) -> str:
    """The collection that holds the one image of that many bands and that side."""
    return f"bench/image{bands}x{side}"


def image_id(bands: int, side: int) -> str:
    """The asset of the image itself."""
    return f"{collection_id(bands, side)}/{DAY}"


SERIES_ID = "bench/series"


def write_scene(folder: Path, images: list[tuple[int, int]], dates: int = 0) -> dict[str, Path]:
    """Write what a server shows, images of (bands, side) and perhaps a series: collections by id."""
    source = folder / "field.tif"
    _write_field(source, field(FIELD, len(BANDS), seed=1))
    catalogs = {}
    for bands, side in images:
        place = folder / f"image{bands}x{side}"
        place.mkdir()
        (place / f"{DAY}.tif").write_text(_virtual_raster(source, bands, side), encoding="utf-8")
        catalogs[collection_id(bands, side)] = place
    if dates:
        catalogs[SERIES_ID] = _write_series(folder / "series", dates)
    return catalogs


def rest_grid(side: int, *, row: int = 0, col: int = 0, rows: int | None = None, cols: int | None = None) -> dict:
    """A part of the image's grid, as requests name it."""
    affine = {
        "scaleX": PIXEL_METRES, "translateX": LEFT + col * PIXEL_METRES,
        "scaleY": -PIXEL_METRES, "translateY": TOP - row * PIXEL_METRES,
    }  # fmt: skip
    return {
        "crsCode": CRS,
        "dimensions": {"width": cols or side, "height": rows or side},
        "affineTransform": affine,
    }


def patch_corners(count: int) -> Iterator[tuple[int, int]]:
    """Row and column where patches begin, all over the image and on no lattice; the same ones every time."""
    random = np.random.default_rng(3)
    yield from map(tuple, random.integers(0, PATCH_IMAGE_SIDE - PATCH_SIDE, (count, 2)).tolist())


def position(grid: dict) -> tuple[int, int]:
    """Row and column of a request's grid in the image."""
    affine = grid["affineTransform"]
    return round((TOP - affine["translateY"]) / PIXEL_METRES), round((affine["translateX"] - LEFT) / PIXEL_METRES)


def field(side: int, bands: int, seed: int) -> np.ndarray:
    """(band, row, column) of float32, a share masked in round spots."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:side, 0:side] / side
    smooth = 0.25 + 0.1 * np.sin(9 * rows + 4 * cols) + 0.08 * np.cos(23 * cols - 11 * rows)
    noise = random.normal(0, 0.008, (bands, side, side))
    steps = np.arange(bands)[:, None, None] * 0.03
    values = np.round(np.clip(smooth + noise + steps, 0.0001, 1.0), 4).astype(np.float32)
    for _ in range(12):
        row, col, radius = random.uniform(0, 1, 3) * (1, 1, 0.08)
        values[:, (rows - row) ** 2 + (cols - col) ** 2 < radius**2] = NODATA
    return values


def _write_field(path: Path, values: np.ndarray) -> None:
    bands, height, width = values.shape
    profile = {
        "driver": "GTiff", "count": bands, "width": width, "height": height, "dtype": "float32", "nodata": NODATA,
        "tiled": min(height, width) >= 256, "crs": CRS, "transform": Affine(PIXEL_METRES, 0, LEFT, 0, -PIXEL_METRES, TOP),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        dataset.descriptions = BANDS[:bands]


def _virtual_raster(source: Path, bands: int, side: int) -> str:
    """A GDAL VRT; GDAL knows it by what it holds, whatever its name ends in."""
    starts = range(0, side, FIELD)
    layers = "".join(
        f'<VRTRasterBand dataType="Float32" band="{band}"><Description>{BANDS[band - 1]}</Description>'
        f"<NoDataValue>{NODATA}</NoDataValue>"
        + "".join(_repeat(source, band, row, col) for row in starts for col in starts)
        + "</VRTRasterBand>"
        for band in range(1, bands + 1)
    )
    transform = f"{LEFT}, {PIXEL_METRES}, 0, {TOP}, 0, {-PIXEL_METRES}"
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{layers}</VRTDataset>"
    )


def _repeat(source: Path, band: int, row: int, col: int) -> str:
    size = f'xSize="{FIELD}" ySize="{FIELD}"'
    return (
        f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/></SimpleSource>'
    )


def _write_series(folder: Path, dates: int) -> Path:
    folder.mkdir()
    for number in range(dates):
        day = date(2015, 1, 1) + timedelta(days=16 * number)
        _write_field(folder / f"{day:%Y%m%d}.tif", field(SERIES_SIDE, 2, seed=number))
    return folder
