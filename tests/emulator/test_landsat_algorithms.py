"""Calibration, cloud scores and composites of Landsat scenes, worked out by hand or beside numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image

PLANE = Projection(Crs("EPSG:32632"), (30.0, 0.0, 6e5, 0.0, -30.0, 5e6))
CONSTANTS = {"K1_CONSTANT_BAND_10": 774.8853, "K2_CONSTANT_BAND_10": 1321.0789}
SCENE = {
    "SENSOR_ID": "OLI_TIRS", "SUN_ELEVATION": 30.0, "WRS_PATH": 1, "WRS_ROW": 1, "CLOUD_COVER": 10.0, **CONSTANTS,
    **{f"REFLECTANCE_MULT_BAND_{n}": 2e-5 for n in range(1, 10)}, **{f"REFLECTANCE_ADD_BAND_{n}": -0.1 for n in range(1, 10)},
    **{f"RADIANCE_MULT_BAND_{n}": 0.01 for n in range(1, 10)}, **{f"RADIANCE_ADD_BAND_{n}": -50.0 for n in range(1, 10)},
    "RADIANCE_MULT_BAND_10": 3.342e-4, "RADIANCE_ADD_BAND_10": 0.1,
}  # fmt: skip
CLEAR = {"B2": 9000, "B3": 9000, "B4": 9000, "B5": 12000, "B6": 11000, "B7": 9000, "B10": 28000}


def run(name, **arguments):
    return registry.call(name, arguments)


def scene(bands, masks=None, **properties):
    """A scene from digital numbers by band: single ones, or rows of them."""
    made = []
    for name, values in bands.items():
        row = np.atleast_2d(np.array(values, np.float64 if isinstance(values, float) else None))
        mask = np.atleast_2d(np.array((masks or {}).get(name, 1), np.float32))
        raster = Raster(row, mask)
        made.append(Band(name, type_of_dtype(row.dtype), Positional(lambda _, raster=raster: raster), PLANE))
    return Image(tuple(made), {**SCENE, **properties})


def pixels(image, width=1):
    return {
        band.name: raster
        for band, raster in zip(
            image.bands, render([b.node for b in image.bands], Grid(PLANE, row=0, col=0, height=1, width=width)), strict=True
        )
    }  # fmt: skip


def values(image):
    return {name: raster.values.item() for name, raster in pixels(image).items()}


def test_radiance_is_a_line_and_other_bands_stay():
    image = run("Landsat.calibratedRadiance", image=scene({"B3": 9000, "B10": 28000, "QA_PIXEL": 21824}))
    assert values(image) == pytest.approx({"B3": 40.0, "B10": 28000 * 3.342e-4 + 0.1, "QA_PIXEL": 21824})
    assert [band.type.precision for band in image.bands] == ["float", "float", "int"]


def test_reflectance_knows_the_height_of_the_sun_and_temperature_the_constants():
    image = run("Landsat.TOA", input=scene({"B3": 9000, "B10": 28000, "QA_PIXEL": 1}))
    radiance = 28000 * 3.342e-4 + 0.1
    expected = {"B3": 0.08 / 0.5, "B10": 1321.0789 / np.log(774.8853 / radiance + 1), "QA_PIXEL": 1}
    assert values(image) == pytest.approx(expected, rel=1e-6)
    assert 290 < values(image)["B10"] < 310
    assert image.properties["SUN_ELEVATION"] == 30.0


def test_the_thermal_bands_of_landsat_7_have_two_gains():
    names = {
        "RADIANCE_MULT_BAND_6_VCID_1": 0.067, "RADIANCE_ADD_BAND_6_VCID_1": 0.0, "K1_CONSTANT_BAND_6_VCID_1": 666.09,
        "K2_CONSTANT_BAND_6_VCID_1": 1282.71,
    }  # fmt: skip
    image = run("Landsat.TOA", input=scene({"B6_VCID_1": 130}, **names))
    assert values(image)["B6_VCID_1"] == pytest.approx(1282.71 / np.log(666.09 / 8.71 + 1), rel=1e-6)


@pytest.mark.parametrize("name", ["Landsat.TOA", "Landsat.calibratedRadiance"])
def test_scenes_without_coefficients_are_refused_by_their_name(name):
    bare = scene({"B3": 9000}).with_properties({"SENSOR_ID": "OLI_TIRS"})
    with pytest.raises(EmulatorError, match="_MULT_BAND_3"):
        run(name, **{"input" if name == "Landsat.TOA" else "image": bare})


def test_night_has_no_reflectance():
    with pytest.raises(EmulatorError, match="below the horizon"):
        run("Landsat.TOA", input=scene({"B3": 9000}, SUN_ELEVATION=-3.0))


def test_metadata_is_translated_to_itself():
    image = scene({"B3": 9000})
    assert run("Landsat.translateMetadata", input=image) is image


TOP = {"B2": 0.2, "B3": 0.2, "B4": 0.2, "B5": 0.3, "B6": 0.2, "B7": 0.2, "B10": 292.5}


@pytest.mark.parametrize(
    ("changed", "score"),
    [
        ({}, 50),  # blue says 0.5, all that is visible 0.67, the infrared 0.8, the cold 0.75, and it is no snow
        ({"B2": 0.1}, 0),
        ({"B10": 300.0}, 0),
        ({"B2": 0.5, "B3": 0.5, "B4": 0.5, "B5": 0.6, "B6": 0.5, "B7": 0.5, "B10": 280.0}, 100),
        ({"B3": 0.9, "B6": 0.05}, 0),  # snow: the index is beyond 0.8
        ({"B2": 0.14}, 19),
    ],
)
def test_cloud_scores(changed, score):
    image = run("Landsat.simpleCloudScore", image=scene({**TOP, **changed}))
    assert image.names == [*TOP, "cloud"]
    assert image.bands[-1].type.as_value() == {"type": "PixelType", "precision": "int", "min": 0, "max": 100}
    blue, green, red, near, short, shorter, kelvin = ({**TOP, **changed}[name] for name in TOP)
    worked_out = min(
        1, (blue - 0.1) / 0.2, (blue + green + red - 0.2) / 0.6, (near + short + shorter - 0.3) / 0.5,
        (300 - kelvin) / 10, (0.8 - (green - short) / (green + short)) / 0.2,
    )  # fmt: skip
    assert values(image)["cloud"] == int(max(0, worked_out) * 100)
    assert values(image)["cloud"] == pytest.approx(score, abs=1)


def test_cloud_scores_need_to_know_the_sensor():
    with pytest.raises(EmulatorError, match="'SENSOR_ID' must be one of"):
        run("Landsat.simpleCloudScore", image=scene(TOP, SENSOR_ID="MSS"))
    with pytest.raises(EmulatorError, match="Band pattern 'B10' did not match"):
        run("Landsat.simpleCloudScore", image=scene({name: TOP[name] for name in list(TOP)[:-1]}))


def test_scores_are_masked_where_a_band_is():
    scored = run("Landsat.simpleCloudScore", image=scene(TOP, {"B10": 0}))
    assert pixels(scored)["cloud"].mask.item() == 0
    assert pixels(scored)["B2"].mask.item() == 1


def frames(*cloudy):
    return Collection([scene(CLEAR, CLOUD_COVER=c, WRS_PATH=p) for c, p in cloudy], of_images=True)


def test_the_clearest_scenes_of_each_frame_are_kept_in_order():
    scenes = frames((50, 1), (10, 1), (30, 1), (90, 2), (80, 2))
    kept = run("Landsat.pathRowLimit", collection=scenes, maxScenesPerPathRow=2)
    assert [image.properties["CLOUD_COVER"] for image in kept.elements] == [10, 30, 90, 80]
    fewer = run("Landsat.pathRowLimit", collection=scenes, maxScenesPerPathRow=2, maxScenesTotal=3)
    assert [image.properties["CLOUD_COVER"] for image in fewer.elements] == [10, 30, 80]
    with pytest.raises(EmulatorError, match="maxScenesTotal"):
        run("Landsat.pathRowLimit", collection=scenes, maxScenesTotal=0)


def looks(*scales):
    """Scenes that differ in brightness: the brighter the cloudier."""
    return Collection([scene({**CLEAR, "B2": 9000 + 100 * s, "B10": 22000}) for s in scales], of_images=True)


def test_composites_are_percentiles_of_the_clearest_looks():
    # Blue reflectances of 0.16, 0.2, 0.24 score 30, 50 and 70 (with cold ground, everything else scores more).
    images = looks(0, 10, 20)
    near = run("Landsat.simpleComposite", collection=images, cloudScoreRange=25, asFloat=True)
    assert near.names == list(CLEAR)
    first, second = 0.08 / 0.5, 0.10 / 0.5
    assert values(near)["B2"] == pytest.approx((first + second) / 2, rel=1e-6)
    clearest = run("Landsat.simpleComposite", collection=images, cloudScoreRange=0, asFloat=True)
    assert values(clearest)["B2"] == pytest.approx(first, rel=1e-6)
    highest = run("Landsat.simpleComposite", collection=images, cloudScoreRange=100, percentile=100, asFloat=True)
    assert values(highest)["B2"] == pytest.approx(0.12 / 0.5, rel=1e-6)


def test_composites_are_bytes_unless_floats_are_asked_for():
    composite = run("Landsat.simpleComposite", collection=looks(0), cloudScoreRange=0)
    kelvin = values(run("Landsat.TOA", input=looks(0).elements[0]))["B10"]
    assert values(composite)["B2"] == round(0.16 * 255)
    assert values(composite)["B10"] == round(kelvin - 100)
    assert {band.type.dtype for band in composite.bands} == {np.dtype("uint8")}


def test_composites_of_nothing_and_of_many():
    assert run("Landsat.simpleComposite", collection=Collection([], of_images=True)).bands == ()
    few = run("Landsat.simpleComposite", collection=frames((50, 1), (10, 1)), maxDepth=1)
    assert values(few)["B2"] == round(0.16 * 255)
    with pytest.raises(EmulatorError, match="maxDepth"):
        run("Landsat.simpleComposite", collection=looks(0), maxDepth=0)


@given(
    blues=st.lists(st.integers(5000, 40000), min_size=1, max_size=6), span=st.integers(0, 100), share=st.integers(0, 100)
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_composites_agree_with_numpy(blues, span, share):
    images = Collection([scene({**CLEAR, "B2": blue, "B10": 20000}) for blue in blues], of_images=True)
    composite = run("Landsat.simpleComposite", collection=images, cloudScoreRange=span, percentile=share, asFloat=True)
    tops = [run("Landsat.TOA", input=image) for image in images.elements]
    scores = np.array([values(run("Landsat.simpleCloudScore", image=top))["cloud"] for top in tops])
    blue = np.array([values(top)["B2"] for top in tops])
    accepted = blue[scores <= scores.min() + span]
    assert values(composite)["B2"] == pytest.approx(np.percentile(accepted, share), rel=1e-5, abs=1e-6)
