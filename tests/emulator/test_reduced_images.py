"""Reductions of the real images against numpy: over time at every pixel, and over space in a region."""

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import parse_crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.geometry import box
from tests.emulator.conftest import FIELD_IMAGES, NOW

BAND = "B8"
DATES = 12


@pytest.fixture(scope="module")
def field(mounted):
    """The images of one band, and the same pixels read by rasterio: (dates, rows, columns), masked ones not a number."""
    session = Session(mounted.catalog, registry, NOW)
    collection = session.call("ImageCollection.load", {"id": "local/field"})
    images = [
        session.call("Image.select", {"input": image, "bandSelectors": [BAND]}) for image in collection.elements[:DATES]
    ]
    paths = sorted(FIELD_IMAGES.glob("*_reflectance.tif"))[:DATES]
    layers = []
    for path in paths:
        with rasterio.open(path) as dataset:
            index = dataset.descriptions.index(BAND) + 1
            values = dataset.read(index).astype(np.float64)
            layers.append(np.where(dataset.read_masks(index) > 0, values, np.nan))
            grid = Grid(
                Projection(parse_crs(dataset.crs.to_string()), tuple(dataset.transform)[:6]), 0, 0, *dataset.shape
            )
    return session, images, np.stack(layers), grid


def reducer(name, **arguments):
    return registry.call(f"Reducer.{name}", arguments)


@pytest.mark.filterwarnings("ignore:All-NaN|Mean of empty|Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize(
    ("how", "oracle"),
    [
        (reducer("median"), np.nanmedian), (reducer("mean"), np.nanmean), (reducer("max"), np.nanmax),
        (reducer("min"), np.nanmin), (reducer("sum"), np.nansum), (reducer("stdDev"), np.nanstd),
        (reducer("count"), lambda stack, axis: (~np.isnan(stack)).sum(axis=axis)),
        (reducer("percentile", percentiles=[15]), lambda stack, axis: np.nanpercentile(stack, 15, axis=axis)),
    ],
)  # fmt: skip
def test_over_time(field, how, oracle):
    session, images, stack, grid = field
    collection = session.call("ImageCollection.fromImages", {"images": images})
    image = session.call("ImageCollection.reduce", {"collection": collection, "reducer": how})
    (raster,) = render([image.bands[0].node], grid)
    known = ~np.isnan(stack).all(axis=0)
    np.testing.assert_array_equal(raster.mask > 0, known)
    expected = oracle(stack, axis=0)[known]
    if image.bands[0].type.precision == "int":
        np.testing.assert_array_equal(raster.values[known], expected)
    else:
        np.testing.assert_allclose(raster.values[known], expected, rtol=1e-6)


def test_several_results_are_each_as_if_alone(field):
    session, images, stack, grid = field
    collection = session.call("ImageCollection.fromImages", {"images": images})
    how = reducer("percentile", percentiles=[10, 50, 90])
    image = session.call("ImageCollection.reduce", {"collection": collection, "reducer": how})
    rasters = render([band.node for band in image.bands], grid)
    known = ~np.isnan(stack).all(axis=0)
    for raster, share in zip(rasters, (10, 50, 90), strict=True):
        np.testing.assert_allclose(raster.values[known], np.nanpercentile(stack[:, known], share, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("how", "oracle"),
    [
        (reducer("mean"), np.mean), (reducer("sum"), np.sum), (reducer("min"), np.min), (reducer("max"), np.max),
        (reducer("count"), np.size), (reducer("stdDev"), np.std), (reducer("variance"), np.var),
        (reducer("median"), np.median), (reducer("percentile", percentiles=[90]), lambda v: np.percentile(v, 90)),
        (reducer("toList"), lambda v: v.tolist()), (reducer("countDistinct"), lambda v: len(np.unique(v))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("date", [0, 7])
def test_over_space(field, how, oracle, date):
    session, images, stack, grid = field
    part = grid.window(row=3, col=5, height=grid.height // 2, width=grid.width // 3)
    values = stack[date, 3 : 3 + part.height, 5 : 5 + part.width]
    region = box(part.bounds, part.projection.crs)
    found = session.call("Image.reduceRegion", {"image": images[date], "reducer": how, "geometry": region})[BAND]
    expected = oracle(values[~np.isnan(values)])
    assert found == (expected if isinstance(expected, list) else pytest.approx(expected, rel=1e-9))


@pytest.mark.parametrize(
    "how",
    [reducer(name) for name in ("stdDev", "variance", "sampleStdDev", "skew", "kurtosis", "circularMean")]
    + [reducer("intervalMean", minPercentile=10, maxPercentile=80)],
    ids=lambda how: how.label,
)
def test_a_lone_pixel_is_that_of_the_whole_to_the_last_bit(field, how):
    session, images, _, grid = field
    collection = session.call("ImageCollection.fromImages", {"images": images})
    node = session.call("ImageCollection.reduce", {"collection": collection, "reducer": how}).bands[0].node
    (whole,) = render([node], grid)
    for row, col in np.ndindex(8, 4):
        (pixel,) = render([node], grid.window(row=6 * row, col=13 * col, height=1, width=1))
        assert pixel.values[0, 0] == whole.values[6 * row, 13 * col]


def test_a_line_at_a_lone_pixel_is_that_of_the_whole(field):
    session, images, _, grid = field
    numbered = [
        session.call("Image.addBands", {"dstImg": session.call("Image.constant", {"value": n / 7}), "srcImg": image})
        for n, image in enumerate(images)
    ]
    collection = session.call("ImageCollection.fromImages", {"images": numbered})
    fitted = session.call("ImageCollection.reduce", {"collection": collection, "reducer": reducer("linearFit")})
    nodes = [band.node for band in fitted.bands]
    whole = render(nodes, grid)
    for row, col in np.ndindex(8, 4):
        pixel = render(nodes, grid.window(row=6 * row, col=13 * col, height=1, width=1))
        assert [each.values[0, 0] for each in pixel] == [each.values[6 * row, 13 * col] for each in whole]


def test_a_fraction_of_a_mask_elsewhere_in_the_tile_changes_no_percentile(field):
    """Values that all count the same take a shorter way, as long as the whole tile is such."""
    session, images, stack, grid = field
    scaled = [session.call("Image.divide", {"image1": image, "image2": 7000}) for image in images]
    brightness = float(np.nanmedian(stack))
    bright = session.call("Image.gt", {"image1": images[-1], "image2": brightness})
    mask = session.call(
        "Image.unmask", {"input": session.call("Image.add", {"image1": bright, "image2": 0.5}), "value": 1}
    )
    dim = [session.call("Image.updateMask", {"image": image, "mask": mask}) for image in scaled[:3]]
    collection = session.call("ImageCollection.fromImages", {"images": [*dim, *scaled[3:]]})
    how = reducer("percentile", percentiles=list(range(1, 100, 3)))
    nodes = [
        band.node for band in session.call("ImageCollection.reduce", {"collection": collection, "reducer": how}).bands
    ]
    whole = render(nodes, grid)
    for row, col in np.ndindex(8, 4):
        pixel = render(nodes, grid.window(row=6 * row, col=13 * col, height=1, width=1))
        assert [each.values[0, 0] for each in pixel] == [each.values[6 * row, 13 * col] for each in whole]
