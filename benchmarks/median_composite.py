"""The median of 20 Sentinel-2 dates at 2048 x 2048, by the emulator and by numpy.

The dates are the real images of one field, repeated to the size; masked pixels stay masked. The emulator reads GeoTIFFs and
answers over HTTP; numpy has the float32 stack in memory already, so that the ratio says what everything around the median costs.
"""

import io
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.measure import cost, in_own_process

SIDE = 2048
DATES = 20
BAND = "B8"
SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "sentinel2_field" / "images"
AFFINE = {"scaleX": 10, "translateX": 600000, "scaleY": -10, "translateY": 5200000}
GRID = {"crsCode": "EPSG:32632", "dimensions": {"width": SIDE, "height": SIDE}, "affineTransform": AFFINE}
LIMIT_RATIO = 3.0
LIMIT_MEGABYTES = 1500


def main() -> None:
    """Compare the two, each in a fresh process."""
    folder = Path(tempfile.mkdtemp(prefix="bench-median-"))
    try:
        make_images(folder)
        ours = in_own_process("benchmarks.median_composite", "files", str(folder))
        simulated = in_own_process("benchmarks.median_composite", "simulated", str(folder))
        theirs = in_own_process("benchmarks.median_composite", "numpy", str(folder))
    finally:
        shutil.rmtree(folder)
    for figures in (ours, simulated):
        figures["cpu_ratio"] = round(figures["cpu_seconds"] / theirs["cpu_seconds"], 2)
    held = all(
        each["cpu_ratio"] <= LIMIT_RATIO and each["peak_megabytes"] < LIMIT_MEGABYTES for each in (ours, simulated)
    )
    limits = {"limit_ratio": LIMIT_RATIO, "limit_megabytes": LIMIT_MEGABYTES, "holds": held}
    print(json.dumps({"files": ours, "simulated": simulated, "numpy": theirs, **limits}))


def make_images(folder: Path) -> None:
    """Twenty GeoTIFFs."""
    sources = sorted(SOURCE.glob("*_reflectance.tif"))[:DATES]
    for path in sources:
        with rasterio.open(path) as dataset:
            index = dataset.descriptions.index(BAND) + 1
            values, valid = dataset.read(index), dataset.read_masks(index) > 0
        repeats = tuple(-(-SIDE // size) for size in values.shape)
        whole, mask = (np.tile(each, repeats)[:SIDE, :SIDE] for each in (values, valid))
        write_image(folder / f"{path.name[:8]}.tif", whole, mask)


def write_image(path: Path, values: np.ndarray, mask: np.ndarray) -> None:
    """One date as a tiled GeoTIFF with an internal mask."""
    profile = {
        "driver": "GTiff", "count": 1, "width": SIDE, "height": SIDE, "dtype": values.dtype.name, "tiled": True,
        "crs": GRID["crsCode"], "transform": rasterio.Affine(10, 0, 600000, 0, -10, 5200000),
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, 1)
        dataset.write_mask(mask)
        dataset.set_band_description(1, BAND)


def by_files(folder: Path) -> None:
    """The files as a collection; the answer is compared with numpy's."""
    median = call("reduce.median", collection=call("ImageCollection.load", id="local/bench"))
    got, figures = composite(median, {"local/bench": folder})
    expected = np.nan_to_num(nanmedian(stack(folder)[:, :256, :256]))
    np.testing.assert_allclose(got[:256, :256], expected, rtol=1e-6)
    print(json.dumps(figures))


def by_simulation(_folder: Path) -> None:
    """Twenty dates of the simulated Sentinel-2 over the same place."""
    images = call("ImageCollection.load", id="COPERNICUS/S2_SR_HARMONIZED")
    tile = call("Filter.eq", leftField="MGRS_TILE", rightValue="32TPS")
    year = call("DateRange", start="2023-01-01", end="2024-01-01")
    in_year = call("Filter.dateRangeContains", leftValue=year, rightField="system:time_start")
    place = call("GeometryConstructors.Point", coordinates=[10.45, 46.85])
    here = call("Filter.intersects", leftField=".all", rightValue=call("Feature", geometry=place))
    for condition in (in_year, here, tile):
        images = call("Collection.filter", collection=images, filter=condition)
    _, figures = composite(
        call("reduce.median", collection=call("Collection.limit", collection=images, limit=DATES)), {}
    )
    print(json.dumps(figures))


def composite(result: dict, catalogs: dict[str, Path]) -> tuple[np.ndarray, dict[str, float]]:
    """One computePixels request over HTTP, everything in one process."""
    import requests

    from airflow_ee.emulator import Emulator
    from airflow_ee.emulator.compute.service import ComputeOptions

    expression = {"result": "0", "values": {"0": result}}
    body = {"expression": expression, "grid": GRID, "fileFormat": "NPY", "bandIds": [BAND]}
    with Emulator(catalogs=catalogs, compute=ComputeOptions(processes=0, cache_bytes=0)) as emulator:
        url = f"{emulator.url}/v1/projects/demo-project/image:computePixels"
        answers = []
        figures = cost(lambda: answers.append(requests.post(url, json=body, timeout=600)))
    if answers[0].status_code != 200:
        raise RuntimeError(answers[0].text)
    return np.load(io.BytesIO(answers[0].content))[BAND], figures


def call(name: str, **arguments: object) -> dict:
    """A node of an expression."""
    nodes = {key: value if isinstance(value, dict) else {"constantValue": value} for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": nodes}}


def stack(folder: Path) -> np.ndarray:
    """All dates as float32, masked pixels NaN."""
    layers = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as dataset:
            layers.append(np.where(dataset.read_masks(1) > 0, dataset.read(1), np.nan).astype(np.float32))
    return np.stack(layers)


def by_numpy(folder: Path) -> None:
    """numpy.nanmedian of the stack in memory."""
    layers = stack(folder)
    print(json.dumps(cost(lambda: nanmedian(layers))))


def nanmedian(layers: np.ndarray) -> np.ndarray:
    """The median over dates, NaN where no date has a pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's word for such a pixel
        return np.nanmedian(layers, axis=0)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"files": by_files, "simulated": by_simulation, "numpy": by_numpy}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
