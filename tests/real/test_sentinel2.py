"""Real Sentinel-2 images of a field: NDVI through computePixels is the published NDVI, cloud-masked and exact."""

import json
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator, EarthEngineGetPixelsOperator

# Cloud shadow, low, medium and high cloud probability, cirrus. The publisher has masked most clouds already.
CLOUDY = (3, 7, 8, 9, 10)
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}


@pytest.fixture(scope="module")
def server(sentinel2_folder):
    with Emulator(catalogs={"local/field": sentinel2_folder / "images"}) as emulator:
        yield emulator


@pytest.fixture
def field(server, connect):
    connect(endpoint=server.url, is_anonymous=True)
    return server


@pytest.fixture(scope="module")
def published(sentinel2_folder):
    with netCDF4.Dataset(sentinel2_folder / "published_bands_and_ndvi.nc") as file:
        file.set_auto_mask(False)
        days = [f"{moment:%Y%m%d}" for moment in netCDF4.num2date(file["t"][:], file["t"].units)]
        return {day: file["NDVI"][index] for index, day in enumerate(days)}


def clear_ndvi(context, asset):
    import ee

    image = ee.Image(asset)
    classes = image.select("SCL")
    mask = classes.neq(CLOUDY[0])
    for number in CLOUDY[1:]:
        mask = mask.And(classes.neq(number))
    return image.normalizedDifference(["B8", "B4"]).rename("ndvi").updateMask(mask)


def graph(asset):
    """The same graph by hand, without the official client."""

    def call(name, **arguments):
        return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}

    image = call("Image.load", id={"constantValue": asset})
    classes = call("Image.select", input=image, bandSelectors={"constantValue": ["SCL"]})

    def differs(number):
        return call("Image.neq", image1=classes, image2=call("Image.constant", value={"constantValue": number}))

    mask = differs(CLOUDY[0])
    for number in CLOUDY[1:]:
        mask = call("Image.and", image1=mask, image2=differs(number))
    difference = call("Image.normalizedDifference", input=image, bandNames={"constantValue": ["B8", "B4"]})
    named = call("Image.rename", input=difference, names={"constantValue": ["ndvi"]})
    return {"result": "0", "values": {"0": call("Image.updateMask", image=named, mask=mask)}}


def compute(expression, asset, path, **arguments):
    operator = EarthEngineComputePixelsOperator(
        task_id="task", expression=expression, grid_from_asset=asset, output_uri=str(path), **arguments
    )
    summary = operator.execute(CONTEXT)
    with rasterio.open(path) as file:
        return summary, file.read(1, masked=True), file.transform


def test_ndvi_of_every_date_is_the_published_one_by_ee_and_by_json(field, published, sentinel2_folder, tmp_path):
    days = sorted(path.name[:8] for path in (sentinel2_folder / "images").glob("*_scl.tif"))
    assert len(days) == 33
    compared = clouded = 0
    for day in days:
        asset = f"local/field/{day}"
        _, by_ee, transform = compute(clear_ndvi, asset, tmp_path / "ee.tif", expression_kwargs={"asset": asset})
        _, by_json, _ = compute(json.dumps(graph(asset)), asset, tmp_path / "json.tif")
        assert by_ee.dtype == by_json.dtype == np.float32
        assert by_ee.tobytes() == by_json.tobytes()
        with rasterio.open(sentinel2_folder / "images" / f"{day}_scl.tif") as file:
            classes, source_transform = file.read(1), file.transform
        with rasterio.open(sentinel2_folder / "images" / f"{day}_reflectance.tif") as file:
            seen = (file.read() != 0).all(axis=0)
        expected_mask = ~(seen & (classes != 0) & ~np.isin(classes, CLOUDY))
        assert transform == source_transform
        assert np.array_equal(np.ma.getmaskarray(by_ee), expected_mask)
        assert np.array_equal(by_ee.data[~expected_mask], published[day][~expected_mask])
        compared += int((~expected_mask).sum())
        clouded += int((expected_mask & seen).sum())
    assert compared > 30_000
    assert clouded == 32, "the pixels of low cloud probability that the publisher left in"


def test_the_summary_tells_what_was_made(field, tmp_path):
    asset = "local/field/20190127"
    summary, pixels, _ = compute(graph(asset), asset, tmp_path / "x.tif")
    assert summary["uri"] == str(tmp_path / "x.tif")
    assert (summary["width"], summary["height"], summary["bands"]) == (56, 57, ["ndvi"])
    assert summary["valid_fraction"] == pytest.approx(1 - np.ma.getmaskarray(pixels).mean())
    assert summary["simulated"] is False, "mounted images are real ones"
    assert summary["bytes"] == (tmp_path / "x.tif").stat().st_size


def test_a_digital_number_of_zero_is_masked_and_is_no_reflectance(field, sentinel2_folder, tmp_path):
    asset = "local/field/20190127"
    EarthEngineGetPixelsOperator(
        task_id="task", asset_id=asset, bands=["B4", "B8"], output_uri=str(tmp_path / "x.tif"), file_format="GEO_TIFF"
    ).execute(CONTEXT)
    with (
        rasterio.open(tmp_path / "x.tif") as made,
        rasterio.open(sentinel2_folder / "images/20190127_reflectance.tif") as source,
    ):
        found, expected = made.read(masked=True), source.read(masked=True)
        assert made.nodata == 65535
        assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
        assert np.array_equal(found.compressed(), expected.compressed())
