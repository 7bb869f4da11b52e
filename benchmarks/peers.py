"""xee and geedim as their users run them: ``python -m benchmarks.peers xee|geedim default|best URL SIDE``."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import scene
from benchmarks.measure import cost

BANDS = 4
LARGEST_TILE_MEGABYTES = 25
"""geedim takes up to 32, which makes the same tiles (512 x 10000 pixels of one band) of an image of 10000 x 10000; of smaller images
it would make tiles that the emulator, which counts mask bytes, refuses."""


def xee(side: int, best: bool) -> np.ndarray:
    """``xarray.open_dataset(..., engine="ee").load()``; at its best with tiles of 2048 x 2048 and 32 threads."""
    import ee
    import xarray

    settings: dict[str, Any] = {}
    if best:
        chunks = {"time": 1, "width": 2048, "height": 2048}
        settings = {"io_chunks": chunks, "executor_kwargs": {"max_workers": 32}}
    metres = scene.PIXEL_METRES
    grid = {
        "crs": scene.CRS,
        "crs_transform": (metres, 0, scene.LEFT, 0, -metres, scene.TOP),
        "shape_2d": (side, side),
    }
    collection = ee.ImageCollection(scene.collection_id(BANDS, side))
    dataset = xarray.open_dataset(collection, engine="ee", **grid, **settings).load()
    return np.stack([dataset[name].values[0, ::512, ::512] for name in scene.BANDS[:BANDS]])


def geedim(side: int, best: bool) -> np.ndarray:
    """``image.gd.toNumPy()``; at its best with the largest tiles that it takes."""
    import ee
    import geedim as _accessor  # noqa: F401 -- adds ``gd`` to the official client's classes
    from geedim.stac import STACClient

    STACClient()._urls = {"ROOT": {}}  # its catalogue of descriptions is in the internet
    image = ee.Image(scene.image_id(BANDS, side))
    found = image.gd.toNumPy(**({"max_tile_size": LARGEST_TILE_MEGABYTES} if best else {}))
    return np.moveaxis(found, -1, 0)[:, ::512, ::512]


def initialize(url: str) -> None:
    """The official client, on the benchmark server."""
    import ee

    ee.Initialize(credentials=None, project=scene.PROJECT, url=url)


def main() -> None:
    """Measure one run: imports and the client's start are not counted, opening and reading are."""
    name, settings, url, side = sys.argv[1:5]
    run: Callable[[int, bool], np.ndarray] = {"xee": xee, "geedim": geedim}[name]
    import xarray  # noqa: F401 -- imported before the clock starts

    __import__(name)
    initialize(url)
    sample: list[np.ndarray] = []
    figures = cost(
        lambda: sample.append(run(int(side), settings == "best")), memory_bytes=2 * int(side) ** 2 * BANDS * 4
    )
    valid = sample[0][np.isfinite(sample[0])]
    figures["mean"] = round(float(valid.mean()), 4)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
