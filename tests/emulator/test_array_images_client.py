"""Scripts that people write with array images, run by Google's client over a socket; numpy works out each pixel by itself."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator import Emulator

from .conftest import UNHURRIED
from .test_official_client import finished, initialised

DATES = [f"2023_{month:02d}_{day:02d}" for month in range(1, 13) for day in (5, 20)]
SHAPE = (9, 11)
NODATA = -9999.0
BANDS = ("red", "nir")


def observations():
    """Dates, bands, rows, columns; not a number where nothing was observed, and one pixel never."""
    random = np.random.default_rng(11)
    values = random.uniform(0.05, 0.6, (len(DATES), 2, *SHAPE)).astype(np.float32)
    hidden = random.random((len(DATES), *SHAPE)) < 0.35
    hidden[:, 0, 0] = True
    hidden[4:, 0, 1] = True  # fewer dates than there are coefficients
    return np.where(hidden[:, None], np.nan, values)


STACK = observations()
GRID = {"crs": "EPSG:32632", "transform": rasterio.Affine(30, 0, 600_000, 0, -30, 5_200_000)}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    form = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 2, "dtype": "float32", "nodata": NODATA}
    for date, values in zip(DATES, STACK, strict=True):
        with rasterio.open(folder / f"{date}.tif", "w", **form, **GRID) as file:
            file.descriptions = BANDS
            file.write(np.where(np.isnan(values), NODATA, values).astype(np.float32))
    with Emulator(
        root=tmp_path_factory.mktemp("root"), catalogs={"local/plot": folder}, pending_seconds=0, running_seconds=0, **UNHURRIED
    ) as running:  # fmt: skip
        yield running


@pytest.fixture(scope="module")
def ee(emulator):
    return initialised(emulator.url)


def fetched(ee, image):
    """Bands by name, not a number where they are masked."""
    shown = image.toDouble().addBands(image.mask().rename([f"{name}_mask" for name in image.bandNames().getInfo()]))
    grid = {
        "dimensions": {"width": SHAPE[1], "height": SHAPE[0]},
        "affineTransform": {"scaleX": 30, "scaleY": -30, "translateX": 600_000, "translateY": 5_200_000},
        "crsCode": "EPSG:32632",
    }
    found = ee.data.computePixels({"expression": shown, "fileFormat": "NUMPY_NDARRAY", "grid": grid})
    names = [name for name in found.dtype.names if not name.endswith("_mask")]
    return {name: np.where(found[f"{name}_mask"] > 0, found[name], np.nan) for name in names}


def years():
    start = datetime(2023, 1, 1, tzinfo=UTC)
    moments = [datetime(*map(int, date.split("_")), tzinfo=UTC) for date in DATES]
    return np.array([(moment - start).total_seconds() / 86400 / 365 for moment in moments])


def harmonics():
    """Rows of predictors, as the scripts make them."""
    turn = 2 * math.pi * years()
    return np.column_stack([np.ones(len(DATES)), years(), np.cos(turn), np.sin(turn)])


def with_predictors(ee):
    """A function that puts predictors before an image's NDVI."""

    def change(image):
        year = ee.Image(image.date().difference(ee.Date("2023-01-01"), "day").divide(365)).toDouble()
        turn = year.multiply(2 * math.pi)
        bands = [ee.Image(1), year, turn.cos(), turn.sin(), image.normalizedDifference(["nir", "red"])]
        names = ["constant", "t", "cos", "sin", "ndvi"]
        valid = image.select("red").mask()
        return ee.Image.cat(bands).rename(names).updateMask(valid).copyProperties(image, ["system:time_start"])

    return change


def expected_coefficients():
    red, nir = STACK[:, 0].astype(np.float64), STACK[:, 1].astype(np.float64)
    ndvi = ((nir - red) / (nir + red)).astype(np.float32).astype(np.float64)
    found = np.full((4, *SHAPE), np.nan)
    for at in np.ndindex(SHAPE):
        seen = ~np.isnan(ndvi[(slice(None), *at)])
        if seen.sum() > 4:
            found[(slice(None), *at)] = np.linalg.lstsq(harmonics()[seen], ndvi[(seen, *at)], rcond=None)[0]
    return found


def check_coefficients(found):
    assert list(found) == ["constant", "t", "cos", "sin"]
    np.testing.assert_allclose(list(found.values()), expected_coefficients(), rtol=1e-9, atol=1e-12)
    assert np.isnan(found["t"][0, 0])
    assert np.isnan(found["t"][0, 1])


def test_a_harmonic_model_solved_with_arrays(ee):
    predictors = ["constant", "t", "cos", "sin"]
    table = ee.ImageCollection("local/plot").map(with_predictors(ee)).toArray()
    table = table.updateMask(table.arrayLength(0).gt(len(predictors)))
    x, y = table.arraySlice(1, 0, 4), table.arraySlice(1, 4)
    coefficients = x.matrixSolve(y).arrayProject([0]).arrayFlatten([predictors])
    check_coefficients(fetched(ee, coefficients.select(predictors)))
    normal = x.matrixTranspose().matrixMultiply(x).matrixInverse().matrixMultiply(x.matrixTranspose().matrixMultiply(y))
    check_coefficients(fetched(ee, normal.arrayProject([0]).arrayFlatten([predictors])))


def test_the_same_model_by_a_reducer(ee):
    predictors = ["constant", "t", "cos", "sin"]
    fit = ee.ImageCollection("local/plot").map(with_predictors(ee)).reduce(ee.Reducer.linearRegression(4, 1))
    assert fit.bandNames().getInfo() == ["coefficients", "residuals"]
    check_coefficients(fetched(ee, fit.select("coefficients").arrayProject([0]).arrayFlatten([predictors])))


def test_a_composite_of_the_greenest_dates(ee):
    """Sorted along the dates by one band, the first of them taken, and averaged."""

    def prepared(image):
        return image.addBands(image.normalizedDifference(["nir", "red"]).multiply(-1).rename("key"))

    table = ee.ImageCollection("local/plot").map(prepared).toArray()
    order = table.arraySlice(1, 2, 3)
    best = table.arraySort(order).arraySlice(0, 0, 3)
    mean = best.arrayReduce(ee.Reducer.mean(), [0]).arrayProject([1])
    found = fetched(ee, mean.arrayFlatten([["red", "nir", "key"]]).select(["red", "nir"]))
    for at in np.ndindex(SHAPE):
        seen = STACK[(slice(None), slice(None), *at)]
        seen = seen[~np.isnan(seen[:, 0])].astype(np.float64)
        greenness = (seen[:, 1] - seen[:, 0]) / (seen[:, 1] + seen[:, 0])
        best_rows = seen[np.argsort(-greenness, kind="stable")[:3]]
        expected = best_rows.mean(axis=0) if len(seen) else [np.nan, np.nan]
        np.testing.assert_allclose([found["red"][at], found["nir"][at]], expected, rtol=1e-6)


def test_the_first_and_last_turn_of_a_running_sum(ee):
    """Deviations from the mean added up: where the sum is least and greatest, and on which day."""

    def dated(image):
        day = image.date().getRelative("day", "year").add(1)
        return ee.Image(day).int16().rename("day").addBands(image.select("nir")).updateMask(image.select("nir").mask())

    rows = ee.ImageCollection("local/plot").map(dated).toArray()
    rows = rows.updateMask(rows.arrayLength(0).gt(1))
    days, values = rows.arraySlice(1, 0, 1), rows.arraySlice(1, 1)
    mean = values.arrayReduce(ee.Reducer.mean(), [0]).arrayGet([0, 0])
    sums = values.subtract(mean).arrayAccum(0, ee.Reducer.sum()).arrayCat(days, 1)
    ends = sums.arraySlice(0, 0, -1).arrayReduce(
        reducer=ee.Reducer.min(2).combine(ee.Reducer.max(2), None, True), axes=[0], fieldAxis=1
    )
    late = rows.arrayMask(days.gt(200)).arraySlice(1, 1).arrayReduce(ee.Reducer.median(), [0])
    late = late.updateMask(late.arrayLength(0)).arrayGet([0, 0]).rename("late").unmask(-1)
    found = fetched(ee, ends.arrayProject([1]).arrayFlatten([["low", "low_day", "high", "high_day"]]).addBands(late))
    of_year = np.array([datetime(*map(int, date.split("_")), tzinfo=UTC).timetuple().tm_yday for date in DATES])
    for at in np.ndindex(SHAPE):
        seen = ~np.isnan(STACK[(slice(None), 1, *at)])
        nir, when = STACK[(seen, 1, *at)].astype(np.float64), of_year[seen]
        if len(nir) < 2:
            assert np.isnan(found["low"][at])
            continue
        sums_here = np.cumsum(nir - nir.mean())[:-1]
        low, high = sums_here.argmin(), sums_here.argmax()
        assert [found["low_day"][at], found["high_day"][at]] == [when[low], when[high]]
        assert found["low"][at] == pytest.approx(sums_here[low], abs=1e-6)
        after = nir[when > 200]
        assert found["late"][at] == pytest.approx(np.median(after) if len(after) else -1, abs=1e-6)


def test_principal_components(ee):
    image = ee.ImageCollection("local/plot").median()
    region = ee.Geometry.Rectangle([600_000, 5_200_000 - 270, 600_330, 5_200_000], "EPSG:32632", False)
    means = image.reduceRegion(ee.Reducer.mean(), region, 30)
    centred = image.subtract(means.toImage(BANDS))
    arrays = centred.toArray()
    covariance = ee.Array(arrays.reduceRegion(ee.Reducer.centeredCovariance(), region, 30).get("array"))
    vectors = covariance.eigen().slice(1, 1)
    components = ee.Image(vectors).matrixMultiply(arrays.toArray(1)).arrayProject([0]).arrayFlatten([["pc1", "pc2"]])
    found = fetched(ee, components)
    known = ~np.isnan(found["pc1"])
    scores = np.stack([found["pc1"][known], found["pc2"][known]])
    np.testing.assert_allclose(np.cov(scores, bias=True)[0, 1], 0, atol=1e-4)
    assert scores[0].var() >= scores[1].var()


def test_band_information_tells_the_dimensions(ee):
    image = ee.Image([1, 2]).toArray().addBands(ee.ImageCollection("local/plot").toArray().rename("table"))
    types = image.bandTypes().getInfo()
    assert [types[name]["dimensions"] for name in ("array", "table")] == [1, 2]
    assert [band["data_type"].get("dimensions") for band in image.getInfo()["bands"]] == [1, 2]


def refused(make):
    import ee

    with pytest.raises(ee.EEException) as caught:
        make()
    return str(caught.value)


def test_array_bands_cannot_be_encoded(ee):
    table = ee.ImageCollection("local/plot").toArray()
    request = {"expression": table, "fileFormat": "NUMPY_NDARRAY"}
    assert "Cannot encode pixels: Band 'array' has array pixels" in refused(lambda: ee.data.computePixels(request))
    url = {"format": "NPY", "region": ee.Geometry.Point([10, 46]), "scale": 30}
    assert "arrayFlatten" in refused(lambda: table.getDownloadURL(url))
    assert "array pixels" in refused(
        lambda: table.getThumbURL({"dimensions": 10, "region": ee.Geometry.Rectangle([10, 46, 11, 47])})
    )
    assert "array pixels" in refused(lambda: table.getMapId())


def test_array_bands_cannot_be_exported(ee):
    grid = {"region": ee.Geometry.Rectangle([10, 46, 10.001, 46.001]), "scale": 30}
    task = ee.batch.Export.image.toCloudStorage(ee.Image([1]).toArray(), bucket="b", fileNamePrefix="x", **grid)
    assert "Cannot export pixels: Band 'array'" in _failure(ee, task)


def _failure(ee, task):
    try:
        task.start()
    except ee.EEException as problem:
        return str(problem)
    return finished(ee, task)["error"]["message"]


def test_errors_of_pixels_are_told(ee):
    table = ee.ImageCollection("local/plot").map(with_predictors(ee)).toArray()
    solved = table.arraySlice(1, 0, 4).matrixSolve(table.arraySlice(1, 4)).arrayProject([0])
    assert "singular or has fewer rows than columns" in refused(
        lambda: fetched(ee, solved.arrayFlatten([list("abcd")]))
    )
