"""Laws that hold for any image: tiles join without a seam, masked numbers never show, and nothing crashes at the world's ends."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import SINUSOIDAL, Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, Reprojected, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.geometry import Geometry, box
from airflow_ee.emulator.values.image import Band, Image
from tests.emulator.test_neighbourhoods import PLANE, run, whole

HEIGHT, WIDTH = 24, 26
SIZES = np.random.default_rng(3).integers(-300, 3000, (HEIGHT, WIDTH)).astype(np.int16)
VALID = (np.random.default_rng(4).random((HEIGHT, WIDTH)) > 0.25) * np.random.default_rng(6).choice(
    [0.5, 1.0], (HEIGHT, WIDTH)
)


def image_over(garbage, projection=PLANE):
    """The same valid pixels whatever lies under the mask and beyond the edge."""

    def read(grid):
        rows, cols = np.arange(grid.row, grid.row + grid.height), np.arange(grid.col, grid.col + grid.width)
        inside = ((rows >= 0) & (rows < HEIGHT))[:, None] & ((cols >= 0) & (cols < WIDTH))[None]
        places = np.ix_(np.clip(rows, 0, HEIGHT - 1), np.clip(cols, 0, WIDTH - 1))
        mask = np.where(inside, VALID[places], 0).astype(np.float32)
        return Raster(np.where(mask > 0, SIZES[places], np.int16(garbage)), mask)

    extent = whole(HEIGHT, WIDTH, projection=projection)
    return Image((Band("b", type_of_dtype("int16"), Reprojected(Positional(read), projection), projection, extent),))


OTHER = {"crs": "EPSG:4326", "crsTransform": [0.00017, 0, 10.2, 0, -0.00013, 45.2]}
CUT = Geometry(box((600033.0, 4999810.0, 600190.0, 4999950.0)).shape, PLANE.crs)
STEPS = {
    "scale": lambda image: run("Image.multiply", image1=image, image2=0.0001),
    "ratio": lambda image: run("Image.divide", image1=image, image2=run("Image.add", image1=image, image2=4000)),
    "against itself": lambda image: run(
        "Image.gt", image1=image, image2=run("Image.focal_mean", image=image, radius=1)
    ),
    "mask": lambda image: run("Image.updateMask", image=image, mask=run("Image.gt", image1=image, image2=0)),
    "unmask": lambda image: run("Image.unmask", input=image, value=-7),
    "fill": lambda image: run("Image.blend", bottom=run("Image.focal_median", image=image, radius=1.5), top=image),
    "where": lambda image: run("Image.where", input=image, test=run("Image.lt", image1=image, image2=0), value=11),
    "remap": lambda image: run("Image.remap", image=run("Image.signum", value=image), **{"from": [0, 1], "to": [5, 6]}),
    "clip": lambda image: run("Image.clip", input=image, geometry=CUT),
    "bilinear": lambda image: run("Image.resample", image=image, mode="bilinear"),
    "bicubic": lambda image: run("Image.resample", image=image, mode="bicubic"),
    "reproject": lambda image: run("Image.reproject", image=image, **OTHER),
    "focal": lambda image: run("Image.focal_max", image=image, radius=2),
    "convolve": lambda image: run("Image.convolve", image=image, kernel=run("Kernel.laplacian8")),
    "deviation": lambda image: run(
        "Image.reduceNeighborhood", image=image, reducer=run("Reducer.stdDev"), kernel=run("Kernel.square", radius=1)
    ),
    "connected": lambda image: run(
        "Image.connectedPixelCount", input=run("Image.gt", image1=image, image2=900), maxSize=5
    ),
    "slope": lambda image: run("Terrain.slope", input=image),
    "picture": lambda image: run("Image.visualize", image=image, min=0, max=3000),
    "coarser": lambda image: run("Image.reduceResolution", image=image, reducer=run("Reducer.mean"), maxPixels=1000),
}
plans = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4)
GRIDS = {
    "own": PLANE,
    "shifted": Projection(PLANE.crs, (10.0, 0.0, 600004.0, 0.0, -10.0, 4999997.0)),
    "coarse and turned": Projection(PLANE.crs, (21.0, 4.0, 600007.0, 3.0, -19.0, 4999990.0)),
    "degrees": Projection(Crs("EPSG:4326"), (0.0001, 0.0, 10.27, 0.0, -0.0001, 45.15)),
}


def built(plan, garbage=0):
    image = image_over(garbage)
    for step in plan:
        image = STEPS[step](image)
    return image


def shown(image, grid):
    """Values where valid, and masks."""
    (raster,) = render([image.bands[0].node], grid)
    return np.where(raster.mask > 0, raster.values, 0), raster.mask


@given(plan=plans, lattice=st.sampled_from(sorted(GRIDS)), row=st.integers(0, 25), col=st.integers(0, 25),
       height=st.integers(1, 7), width=st.integers(1, 7))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_tile_is_its_part_of_the_whole(plan, lattice, row, col, height, width):
    image, grid = built(plan), Grid(GRIDS[lattice], row=-2, col=-2, height=32, width=32)
    values, mask = shown(image, grid)
    part, part_mask = shown(image, grid.window(row=row, col=col, height=height, width=width))
    np.testing.assert_array_equal(part_mask, mask[row : row + height, col : col + width])
    np.testing.assert_array_equal(part, values[row : row + height, col : col + width])


@given(plan=plans, lattice=st.sampled_from(sorted(GRIDS)), garbage=st.sampled_from([-32768, -1, 1, 900, 32767]))
@settings(max_examples=60, deadline=None)
def test_numbers_under_a_mask_never_show(plan, lattice, garbage):
    grid = Grid(GRIDS[lattice], row=-3, col=-3, height=34, width=34)
    values, mask = shown(built(plan), grid)
    others, other_mask = shown(built(plan, garbage), grid)
    np.testing.assert_array_equal(other_mask, mask)
    np.testing.assert_array_equal(others, values)


@given(plan=plans)
@settings(max_examples=40, deadline=None)
def test_types_hold_their_pixels(plan):
    image = built(plan)
    (raster,) = render([image.bands[0].node], Grid(PLANE, row=-1, col=-1, height=28, width=28))
    type_ = image.bands[0].type
    assert raster.values.dtype == type_.dtype
    low, high = type_.range
    seen = raster.values[raster.mask > 0].astype(np.float64)
    slack = 1e-6 * max(abs(low), abs(high)) if np.isfinite([low, high]).all() and type_.precision != "int" else 0.0
    assert ((seen >= low - slack) & (seen <= high + slack)).all()
    assert ((raster.mask >= 0) & (raster.mask <= 1)).all()


ENDS = {
    "the date line": Projection(Crs("EPSG:4326"), (0.5, 0.0, 178.0, 0.0, -0.5, 2.0)),
    "the north pole": Projection(Crs("EPSG:4326"), (0.5, 0.0, 0.0, 0.0, -0.5, 91.0)),
    "around the pole": Projection(Crs("EPSG:3995"), (1e5, 0.0, -4e5, 0.0, -1e5, 4e5)),
    "beyond the sinusoidal's edge": Projection(SINUSOIDAL, (1e6, 0.0, 18e6, 0.0, -1e6, 9e6)),
    "beyond Mercator": Projection(Crs("EPSG:3857"), (1e7, 0.0, 1e7, 0.0, -1e7, 6e7)),
    "turned upside down": Projection(Crs("EPSG:32632"), (10.0, 2.0, 6e5, 3.0, 10.0, 5e6)),
}


@pytest.mark.parametrize("place", ENDS)
@pytest.mark.parametrize("source", ["own", "degrees"])
@pytest.mark.parametrize("step", ["reproject", "bilinear", "coarser", "slope", "focal", "clip"])
def test_the_ends_of_the_world_are_masked_or_refused_but_do_not_crash(place, source, step):
    image = STEPS[step](image_over(1, GRIDS[source]))
    extra = [run("Image.pixelLonLat").bands[0], run("Image.pixelArea").bands[0], run("Image.random").bands[0]]
    grid = Grid(ENDS[place], row=0, col=0, height=8, width=8)
    with contextlib.suppress(EmulatorError):
        assert_finite(render([image.bands[0].node, *(band.node for band in extra)], grid))


def assert_finite(rasters):
    for raster in rasters:
        assert np.isfinite(raster.values[raster.mask > 0]).all()


def test_every_step_is_worth_testing():
    """Nothing that is masked everywhere proves anything."""
    for name, step in STEPS.items():
        _, mask = shown(step(image_over(0)), whole(HEIGHT, WIDTH))
        assert (mask > 0).sum() > 20, name
    assert "Image.reduceResolution" in registry.names
