"""Pixels against libraries that share no code with the emulator: numpy, GDAL through rasterio, shapely, colorsys."""

import colorsys

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from tests.emulator.conftest import FIELD_IMAGES, MODIS_IMAGES, UTM, call, graph, image, node
from tests.emulator.test_neighbourhoods import PLANE, from_array, pixels, run, whole

RANDOM = np.random.default_rng(5)


@pytest.fixture
def load(mounted):
    session = Session(mounted.catalog, registry, mounted.clock.now())
    return lambda identity, band: session.call(
        "Image.select", {"input": session.call("Image.load", {"id": identity}), "bandSelectors": [band]}
    )


SOURCES = {
    "modis": ("MODIS/061/MOD13Q1/2008_06_09", "NDVI", MODIS_IMAGES / "2008_06_09.tif", 1),
    "field": ("local/field/20190614", "B8", None, 2),
}


def source(kind):
    identity, band, path, index = SOURCES[kind]
    path = path or sorted(FIELD_IMAGES.glob("*_reflectance.tif"))[3]
    if kind == "field":
        identity = f"local/field/{path.name.split('_')[0]}"
    with rasterio.open(path) as file:
        return identity, band, file.read(index), file.transform, file.crs, file.nodata


TARGETS = {
    "modis to degrees": ("modis", "EPSG:4326", (0.0021, 0.0, -57.0, 0.0, -0.0019, -11.6)),
    "modis to UTM": ("modis", "EPSG:32721", (250.0, 0.0, 5e5, 0.0, -240.0, 87e5)),
    "field to degrees": ("field", "EPSG:4326", (0.00009, 0.0, -4.0, 0.0, -0.00008, 43.0)),
    "field to another zone": ("field", "EPSG:32631", (11.0, 1.0, 0.0, 0.5, -9.0, 47e5)),
}


@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_reprojection_equals_gdals_warp_with_the_same_kernel(load, case, mode):
    kind, code, transform = TARGETS[case]
    identity, band, values, affine, crs, nodata = source(kind)
    projection = Projection(Crs(code), transform)
    image = load(identity, band)
    grid = _covering(projection, image)
    if mode != "nearest":
        image = run("Image.resample", image=image, mode=mode)
    (raster,) = render([image.bands[0].node], grid)
    target = warped(values, (affine, crs, nodata), grid, rasterio.warp.Resampling[{"bicubic": "cubic"}.get(mode, mode)])
    compared = _undisputed(projection, image, grid, values, nodata)
    assert compared.sum() > 300
    if mode == "nearest":
        np.testing.assert_array_equal(raster.values[compared], target[compared].astype(raster.values.dtype))
    else:
        np.testing.assert_allclose(raster.values[compared], target[compared], rtol=1e-6)


def warped(values, placed, grid, resampling):
    """GDAL's own pixels. Rows of five at most are transformed exactly; on longer ones GDAL goes by straight lines."""
    affine, crs, nodata = placed
    target = np.full(grid.shape, np.nan)
    for left in range(0, grid.width, 5):
        part = grid.window(row=0, col=left, height=grid.height, width=min(5, grid.width - left))
        strip = np.full(part.shape, np.nan)
        rasterio.warp.reproject(
            values.astype(np.float64), strip, src_transform=affine, src_crs=crs, src_nodata=nodata,
            dst_transform=Affine(*part.transform), dst_crs=grid.projection.crs.text, dst_nodata=np.nan,
            resampling=resampling, XSCALE=1, YSCALE=1,
        )  # fmt: skip
        target[:, left : left + 5] = strip
    return target


def _covering(projection, image):
    from airflow_ee.emulator.pixels.grid import bounds_in, grid_over

    return grid_over(projection, bounds_in(projection.crs, image.bands[0].extent))


def _undisputed(projection, image, grid, values, nodata):
    """Pixels whose whole kernel is valid, and whose centre is not within a thousandth of an edge."""
    at = grid.positions_in(image.bands[0].projection)
    origin = image.bands[0].extent
    rows, cols = (np.broadcast_to(each, grid.shape) for each in (at.rows - origin.row, at.cols - origin.col))
    near = lambda position: np.abs(position - np.rint(position)) < 1e-3  # noqa: E731 -- used twice, here
    clear = ~(near(rows) | near(cols) | near(rows - 0.5) | near(cols - 0.5))
    valid = np.pad(values != nodata, 3)
    reach = np.ones(grid.shape, bool)
    base = (
        np.clip(np.floor(rows - 0.5).astype(int), -1, values.shape[0]),
        np.clip(np.floor(cols - 0.5).astype(int), -1, values.shape[1]),
    )
    for down in range(-1, 3):
        for right in range(-1, 3):
            reach &= valid[
                np.clip(base[0] + down + 3, 0, valid.shape[0] - 1), np.clip(base[1] + right + 3, 0, valid.shape[1] - 1)
            ]
    return clear & reach


@pytest.mark.parametrize("kind", ["modis", "field"])
def test_arithmetic_on_real_pixels_equals_numpy(load, kind):
    identity, band, values, _, _, nodata = source(kind)
    image = load(identity, band)
    valid, wide = values != nodata, values.astype(np.int64)
    for name, oracle in (("add", wide + 700), ("multiply", wide * 700), ("subtract", 700 - wide)):
        first, second = (700, image) if name == "subtract" else (image, 700)
        (raster,) = render([run(f"Image.{name}", image1=first, image2=second).bands[0].node], image.bands[0].extent)
        np.testing.assert_array_equal(raster.values[valid], oracle[valid])
        np.testing.assert_array_equal(raster.mask > 0, valid)
    (scaled,) = render([run("Image.divide", image1=image, image2=10000).bands[0].node], image.bands[0].extent)
    np.testing.assert_array_equal(scaled.values[valid], (values / 10000).astype(np.float32)[valid])


FINE = RANDOM.integers(0, 1000, (48, 40)).astype(np.int16)
FINE_MASK = (RANDOM.random((48, 40)) > 0.1).astype(np.float32)


def coarse(width, height, factor, shift=0.0):
    step = 10.0 * factor
    return Grid(
        Projection(PLANE.crs, (step, 0.0, 6e5 + shift, 0.0, -step, 5e6 - shift)),
        row=0,
        col=0,
        height=height,
        width=width,
    )


def test_aligned_pixels_are_combined_block_by_block():
    image = run("Image.reduceResolution", image=from_array(FINE, FINE_MASK), reducer=run("Reducer.mean"))
    (raster,) = render([image.bands[0].node], coarse(10, 12, 4))
    blocks, valid = (each.reshape(12, 4, 10, 4).swapaxes(1, 2).reshape(12, 10, 16) for each in (FINE, FINE_MASK))
    expected = np.ma.masked_array(blocks, valid == 0).mean(axis=2)
    np.testing.assert_allclose(raster.values, expected, rtol=1e-12)
    assert image.names == ["b"]
    kind = {"type": "PixelType", "precision": "double", "min": -32768.0, "max": 32767.0}
    assert image.bands[0].type.as_value() == kind


@pytest.mark.parametrize("shear", [0.0, 9.0])
def test_pixels_weigh_by_the_share_of_area_that_they_take(shear):
    target = Projection(PLANE.crs, (37.0, shear, 600013.0, -shear, -31.0, 4999971.0))
    grid = Grid(target, row=0, col=0, height=8, width=7)
    image = run("Image.reduceResolution", image=from_array(FINE, FINE_MASK), reducer=run("Reducer.sum"))
    (raster,) = render([image.bands[0].node], grid)
    for row, col in ((0, 0), (3, 4), (7, 6)):
        corners = [target.corners(np.array(row + i), np.array(col + j)) for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))]
        shape = shapely.Polygon([(float(x - 6e5) / 10, float(5e6 - y) / 10) for x, y in corners])
        total = 0.0
        for r, c in np.ndindex(FINE.shape):
            part = shapely.box(c, r, c + 1, r + 1).intersection(shape).area / shape.area
            total += part * FINE_MASK[r, c] * FINE[r, c]
        assert raster.values[row, col] == pytest.approx(total, rel=1e-6)


def test_the_same_lattice_stays_as_it_is_and_too_many_pixels_are_refused():
    image = run("Image.reduceResolution", image=from_array(FINE, FINE_MASK), reducer=run("Reducer.max"))
    same = pixels(image, FINE.shape)
    np.testing.assert_array_equal(same.values[FINE_MASK > 0], FINE[FINE_MASK > 0])
    assert same.values.dtype == np.int16
    render([image.bands[0].node], coarse(3, 3, 8))
    with pytest.raises(EmulatorError, match="maxPixels"):
        render([image.bands[0].node], coarse(3, 3, 9))
    with pytest.raises(EmulatorError, match="bestEffort"):
        run("Image.reduceResolution", image=from_array(FINE), reducer=run("Reducer.mean"), bestEffort=True)
    with pytest.raises(EmulatorError, match="projection"):
        run("Image.reduceResolution", image=3, reducer=run("Reducer.mean"))


@given(row=st.integers(0, 10), col=st.integers(0, 8), height=st.integers(1, 4), width=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_combined_pixels_have_no_seams(row, col, height, width):
    image = run("Image.reduceResolution", image=from_array(FINE, FINE_MASK), reducer=run("Reducer.mean"))
    complete = coarse(13, 15, 3.3, 7.0)
    (all_,) = render([image.bands[0].node], complete)
    (part,) = render([image.bands[0].node], complete.window(row=row, col=col, height=height, width=width))
    np.testing.assert_array_equal(part.values, all_.values[row : row + height, col : col + width])
    np.testing.assert_array_equal(part.mask, all_.mask[row : row + height, col : col + width])


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_colour_spaces_are_the_standard_ones(colours):
    values = np.array(colours, dtype=np.float64)[None]
    rgb = from_array(values[..., 0], name="r")
    for index, name in ((1, "g"), (2, "b")):
        rgb = run("Image.addBands", dstImg=rgb, srcImg=from_array(values[..., index], name=name))
    for function, oracle, names in (
        ("Image.rgbToHsv", colorsys.rgb_to_hsv, ["hue", "saturation", "value"]),
        ("Image.hsvToRgb", colorsys.hsv_to_rgb, ["red", "green", "blue"]),
    ):
        image = run(function, image=rgb)
        assert image.names == names
        found = np.stack(
            [raster.values for raster in render([b.node for b in image.bands], whole(1, len(colours)))], -1
        )
        off = np.abs(found[0] - [oracle(*each) for each in colours])
        # Hue is a circle: a hair below red may be 0 or 1.
        assert (np.minimum(off, 1 - off)[:, :1] < 1e-9).all()
        assert (off[:, 1:] < 1e-9).all() if names[0] == "hue" else (off < 1e-9).all()


SHAPES = [
    shapely.Polygon([(600012, 4999988), (600121, 4999941), (600077, 4999863), (600031, 4999901)]),
    shapely.box(600050, 4999900, 600140, 4999960).difference(shapely.box(600070, 4999910, 600100, 4999950)),
]


def collection(shapes, **properties):
    features = [
        Feature(Geometry(shape, PLANE.crs), {name: values[index] for name, values in properties.items()})
        for index, shape in enumerate(shapes)
    ]
    return Collection(features)


def test_painted_pixels_are_those_whose_centre_is_covered_and_the_last_feature_is_on_top():
    base = from_array(np.full((18, 20), 3, np.uint8), np.zeros((18, 20)))
    image = run("Image.paint", image=base, featureCollection=collection(SHAPES, kind=[7, 300]), color="kind")
    result = pixels(image, (18, 20))
    transform = Affine(10, 0, 6e5, 0, -10, 5e6)
    expected = rasterio.features.rasterize(
        list(zip(SHAPES, [7, 300], strict=True)), (18, 20), transform=transform, dtype="int16"
    )
    np.testing.assert_array_equal(np.where(result.mask > 0, result.values, 0), expected)
    assert image.bands[0].type.as_value() == {"type": "PixelType", "precision": "int", "min": 0, "max": 300}
    number = run("Image.paint", image=base, featureCollection=collection(SHAPES), color=9)
    assert set(np.unique(pixels(number, (18, 20)).values[expected > 0])) == {9}


def test_painted_outlines_are_as_wide_as_told():
    base = from_array(np.zeros((18, 20), np.uint8))
    image = run("Image.paint", image=base, featureCollection=collection(SHAPES[:1]), color=1, width=3)
    result = pixels(image, (18, 20)).values
    x, y = np.broadcast_arrays(*whole(18, 20).centres())
    distance = shapely.distance(SHAPES[0].boundary, shapely.points(x, y))
    assert (result[distance < 14.9] == 1).all()
    assert (result[distance > 15.1] == 0).all()


def test_a_point_paints_the_pixel_that_it_lies_in():
    base = from_array(np.zeros((18, 20), np.uint8))
    points = collection([shapely.Point(600025.5, 4999955.5)])
    assert np.argwhere(
        pixels(run("Image.paint", image=base, featureCollection=points, color=1), (18, 20)).values
    ).tolist() == [[4, 2]]
    with pytest.raises(EmulatorError, match="'kind'"):
        run("Image.paint", image=base, featureCollection=points, color="kind")


def test_styled_collections_are_pictures():
    image = run("Collection.style", collection=collection(SHAPES[:1]), color="red", width=2, fillColor="0000ff80")
    assert image.names == ["vis-red", "vis-green", "vis-blue"]
    red, _, blue = render([band.node for band in image.bands], whole(18, 20))
    assert red.mask[0, 19] == 0
    inside = 6, 6
    assert (red.values[inside], blue.values[inside]) == (0, 255)
    assert red.mask[inside] == pytest.approx(128 / 255)
    x, y = np.broadcast_arrays(*whole(18, 20).centres())
    edge = shapely.distance(SHAPES[0].boundary, shapely.points(x, y)) < 8
    assert (red.values[edge] == 255).all()
    with pytest.raises(EmulatorError, match="dotted"):
        run("Collection.style", collection=collection(SHAPES), lineType="dotted")
    with pytest.raises(EmulatorError, match="star5"):
        run("Collection.style", collection=collection([shapely.Point(6e5, 5e6)]), pointShape="star5")


@pytest.mark.parametrize(("distribution", "mean", "deviation"), [("uniform", 0.5, 12**-0.5), ("normal", 0.0, 1.0)])
def test_random_numbers_are_spread_as_told_and_the_same_in_every_tile(distribution, mean, deviation):
    image = run("Image.random", seed=4, distribution=distribution)
    (field,) = render([image.bands[0].node], whole(300, 300))
    assert image.names == ["random"]
    assert field.values.mean() == pytest.approx(mean, abs=0.02)
    assert field.values.std() == pytest.approx(deviation, rel=0.02)
    assert abs(np.corrcoef(field.values[:-1].ravel(), field.values[1:].ravel())[0, 1]) < 0.02
    # The tile as a client names it: by an origin of its own.
    tile = Grid(Projection(PLANE.crs, (10.0, 0.0, 600070.0, 0.0, -10.0, 4999870.0)), row=0, col=0, height=5, width=6)
    (part,) = render([image.bands[0].node], tile)
    np.testing.assert_array_equal(part.values, field.values[13:18, 7:13])
    (other,) = render([run("Image.random", seed=5, distribution=distribution).bands[0].node], tile)
    assert not np.isclose(other.values, part.values).any()


def test_random_colours_belong_to_values():
    values = np.array([[1, 2, 1, 3]], np.int16)
    image = run("Image.randomVisualizer", image=from_array(values))
    assert image.names == ["viz-red", "viz-green", "viz-blue", "b"]
    colours = np.stack([raster.values[0] for raster in render([b.node for b in image.bands[:3]], whole(1, 4))], -1)
    assert (colours[0] == colours[2]).all()
    assert len({tuple(each) for each in colours.tolist()}) == 3


def test_coordinates_count_in_the_projections_pixels():
    image = run("Image.pixelCoordinates", projection=PLANE)
    x, y = render([band.node for band in image.bands], whole(3, 4, 5, 6))
    np.testing.assert_allclose(x.values, np.broadcast_to(np.arange(6.5, 10), (3, 4)))
    np.testing.assert_allclose(y.values, np.broadcast_to(np.arange(5.5, 8)[:, None], (3, 4)))


def test_values_are_stretched_to_bytes():
    values = np.array([[-10.0, 0.0, 0.3, 1.0, 2.0, 9.0]])
    image = from_array(values)
    shown = pixels(run("Image.visualize", image=image, min=0, max=2), (1, 6))
    np.testing.assert_array_equal(shown.values, [[0, 0, 38, 128, 255, 255]])
    gamma = pixels(run("Image.visualize", image=image, min=0, max=2, gamma=2), (1, 6))
    np.testing.assert_array_equal(gamma.values, np.rint(255 * np.sqrt(np.clip(values / 2, 0, 1))))
    gain = pixels(run("Image.visualize", image=image, gain=100, bias=20), (1, 6))
    np.testing.assert_array_equal(gain.values, np.clip(np.rint(values * 100 + 20), 0, 255))
    np.testing.assert_array_equal(
        pixels(run("Image.visualize", image=image), (1, 6)).values, [[0, 0, 77, 255, 255, 255]]
    )
    palette = run("Image.visualize", image=image, min=0, max=2, palette=["black", "FF0000", "white"], opacity=0.5)
    red, green, _ = render([band.node for band in palette.bands], whole(1, 6))
    np.testing.assert_array_equal(red.values, [[0, 0, 77, 255, 255, 255]])
    np.testing.assert_array_equal(green.values, [[0, 0, 0, 0, 255, 255]])
    assert (red.mask == 0.5).all()
    grey = run("Image.visualize", image=image, forceRgbOutput=True)
    assert grey.names == ["vis-red", "vis-green", "vis-blue"]


def test_images_are_blended_by_the_upper_mask():
    bottom = from_array(np.array([[10.0, 10.0, 10.0, 10.0]]), np.array([[1, 1, 0, 0]]))
    top = from_array(np.array([[30.0, 30.0, 30.0, 30.0]]), np.array([[1, 0.25, 0.25, 0]]))
    result = pixels(run("Image.blend", bottom=bottom, top=top), (1, 4))
    np.testing.assert_allclose(result.values[0, :3], [30, 15, 30])
    np.testing.assert_allclose(result.mask, [[1, 1, 0.25, 0]])


def test_setting_a_mask_shows_the_value_nearest_to_zero():
    shifted = run("Image.add", image1=from_array(np.array([[1, 2]], np.uint8), np.array([[0, 1]])), image2=5)
    result = pixels(run("Image.mask", image=shifted, mask=1), (1, 2))
    np.testing.assert_array_equal(result.values, [[5, 7]])
    assert (result.mask == 1).all()


@pytest.mark.parametrize(
    ("behavior", "expected", "mask"),
    [("extrapolate", [-2.0, 5.0, 30.0], [1, 1, 1]), ("clamp", [0.0, 5.0, 20.0], [1, 1, 1]),
     ("input", [-1.0, 5.0, 4.0], [1, 1, 1]), ("mask", [0.0, 5.0, 0.0], [0, 1, 0])],
)  # fmt: skip
def test_values_are_read_off_a_line_through_points(behavior, expected, mask):
    image = from_array(np.array([[-1.0, 1.5, 4.0]]))
    result = pixels(run("Image.interpolate", image=image, x=[0, 1, 3], y=[0, 2, 20 - 0.0], behavior=behavior), (1, 3))
    exact = np.interp(1.5, [0, 1, 3], [0, 2, 20])
    wanted = [exact if value == 5.0 else value for value in expected]
    if behavior == "extrapolate":
        wanted[2] = 20 + 9.0
    np.testing.assert_allclose(result.values * (result.mask > 0), [np.array(wanted) * mask])
    np.testing.assert_array_equal(result.mask, [mask])


def test_values_are_clamped_scaled_and_put_into_polynomials():
    image = from_array(np.array([[-5, 0, 7, 30]], np.int16))
    np.testing.assert_array_equal(
        pixels(run("Image.clamp", input=image, low=-1, high=10), (1, 4)).values, [[-1, 0, 7, 10]]
    )
    np.testing.assert_allclose(
        pixels(run("Image.unitScale", input=image, low=0, high=10), (1, 4)).values, [[-0.5, 0, 0.7, 3]], rtol=1e-7
    )
    cubic = pixels(run("Image.polynomial", image=image, coefficients=[1, 0, -2, 0.5]), (1, 4)).values
    x = np.array([[-5.0, 0, 7, 30]])
    np.testing.assert_allclose(cubic, 1 - 2 * x**2 + 0.5 * x**3)


def test_lines_and_points_clip_to_the_pixels_they_touch():
    image = from_array(np.ones((6, 6), np.uint8))
    line = Geometry(shapely.LineString([(600005, 4999995), (600055, 4999945)]), PLANE.crs)
    np.testing.assert_array_equal(
        np.diag(pixels(run("Image.clip", input=image, geometry=line), (6, 6)).mask), np.ones(6)
    )
    point = Geometry(shapely.Point(600033, 4999958), PLANE.crs)
    assert np.argwhere(pixels(run("Image.clip", input=image, geometry=point), (6, 6)).mask).tolist() == [[4, 3]]


@pytest.mark.parametrize("step", ["focal", "hillshade", "formula"])
def test_an_export_holds_what_compute_pixels_answers(rest, emulator, step):
    ndvi = call("Image.select", input=image("MODIS/061/MOD13Q1/2020_06_09"), bandSelectors=["NDVI"])
    expression = graph({
        "focal": call("Image.focal_mean", image=ndvi, radius=2, units="pixels"),
        "hillshade": call("Terrain.hillshade", input=ndvi),
        "formula": call("Image.sqrt", value=call("Image.multiply", image1=ndvi, image2=node(0.0001))),
    }[step])  # fmt: skip
    grid = {**UTM, "dimensions": {"width": 40, "height": 30}}
    computed = rest.pixels(expression, grid)
    options = {"fileFormat": "GEO_TIFF", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": step}}
    started = rest.export(expression, grid=grid, fileExportOptions=options).json()
    assert rest.ended(started["name"])["metadata"]["state"] == "SUCCEEDED"
    with rasterio.open(emulator.root / "gs" / "b" / f"{step}.tif") as file:
        np.testing.assert_array_equal(file.read(1), computed[computed.dtype.names[0]])
        assert file.transform == Affine(10, 0, 670000, 0, -10, 5150000)
