"""Assets that exports make: masks, types, times, places and names."""

import numpy as np
import pytest

from .conftest import call, graph, grid, message
from .test_exports import to_asset

GRID = grid("EPSG:32632", (600000, 5100000), 10, 20, 12)
ROOT = "projects/demo-project/assets"


def make(rest, expression, name, **destination):
    answer = rest.export(graph(expression), grid=GRID, **to_asset(name, **destination))
    return rest.ended(answer.json()["name"]) if answer.status_code == 200 else answer


def made(rest, expression, name, **destination):
    operation = make(rest, expression, name, **destination)
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    return rest.get(name).json()


def container(rest, name, kind):
    return rest.post(f"{rest.project}/assets", {"type": kind}, params={"assetId": name})


def stacked(**bands):
    nodes = [call("Image.rename", input=node, names=[name]) for name, node in bands.items()]
    image = nodes[0]
    for other in nodes[1:]:
        image = call("Image.addBands", dstImg=image, srcImg=other)
    return image


def constant(value):
    return call("Image.constant", value=value)


def test_types_of_bands_and_fractions_of_masks_survive(rest):
    third = call("Image.updateMask", image=call("Image.toInt16", value=constant(-300)), mask=constant(1 / 3))
    source = stacked(
        byte=call("Image.toByte", value=constant(7)),
        part=third,
        real=constant(0.1),
        whole=call("Image.toInt64", value=constant(2**40)),
    )
    asset = made(rest, source, f"{ROOT}/x")
    loaded = call("Image.load", id=f"{ROOT}/x")
    types = [band["data_type"] for band in rest.value(graph(loaded))["bands"]]
    assert types == [band["data_type"] for band in rest.value(graph(source))["bands"]]
    assert [band["id"] for band in asset["bands"]] == ["byte", "part", "real", "whole"]
    for band in ("byte", "part", "real", "whole"):
        chosen = [call("Image.select", input=image, bandSelectors=[band]) for image in (source, loaded)]
        for before, after in (chosen, [call("Image.mask", image=image) for image in chosen]):
            np.testing.assert_array_equal(rest.pixels(graph(before), GRID), rest.pixels(graph(after), GRID))


def test_pixels_outside_of_an_asset_are_masked(rest):
    part = call("Image.updateMask", image=constant(5), mask=constant(0.5))
    made(rest, part, f"{ROOT}/x")
    wide = grid("EPSG:32632", (600000 - 100, 5100000), 10, 20, 12)
    mask = rest.pixels(graph(call("Image.mask", image=call("Image.load", id=f"{ROOT}/x"))), wide)["constant"]
    assert (mask[:, :10] == 0).all()
    assert (mask[:, 10:] == 0.5).all()


def test_times_and_properties_survive(rest):
    dated = call(
        "Element.setMulti",
        object=constant(1),
        properties={
            "system:time_start": 1591660800000,
            "system:time_end": 1591747200000,
            "a": 1,
            "b": "é",
            "c": [1, 2.5],
        },
    )
    asset = made(rest, dated, f"{ROOT}/x")
    assert (asset["startTime"], asset["endTime"]) == ("2020-06-09T00:00:00Z", "2020-06-10T00:00:00Z")
    properties = rest.value(graph(call("Image.load", id=f"{ROOT}/x")))["properties"]
    assert {name: properties[name] for name in ("a", "b", "c")} == {"a": 1, "b": "é", "c": [1, 2.5]}
    assert properties["system:time_start"] == 1591660800000
    assert properties["system:index"] == "x"


def test_a_footprint_that_is_set_is_kept_and_else_is_that_of_the_pixels(rest):
    square = call(
        "GeometryConstructors.Polygon", coordinates=[[[10, 46], [11, 46], [11, 47], [10, 46]]], geodesic=False
    )
    named = call("Element.set", object=constant(1), key="system:footprint", value=square)
    made(rest, named, f"{ROOT}/x")
    geometry = rest.value(graph(call("Image.geometry", feature=call("Image.load", id=f"{ROOT}/x"))))
    assert geometry["coordinates"] == [[[10, 46], [11, 46], [11, 47], [10, 46]]]
    made(rest, constant(1), f"{ROOT}/y")
    geometry = rest.value(graph(call("Image.geometry", feature=call("Image.load", id=f"{ROOT}/y"))))
    west, south = np.min(geometry["coordinates"][0], axis=0)
    assert (west, south) == pytest.approx((10.29, 46.04), abs=0.02)


def test_images_go_into_collections_and_are_found_there(rest):
    assert container(rest, "c", "IMAGE_COLLECTION").status_code == 200
    for day in (9, 10):
        dated = call("Element.set", object=constant(day), key="system:time_start", value=1591660800000 + 86400000 * day)
        made(rest, dated, f"{ROOT}/c/i{day}")
    collection = call("ImageCollection.load", id=f"{ROOT}/c")
    indices = call("AggregateFeatureCollection.array", collection=collection, property="system:index")
    assert rest.value(graph(indices)) == ["i10", "i9"]
    listed = rest.get(f"{ROOT}/c:listAssets").json()["assets"]
    assert [asset["id"] for asset in listed] == [f"{ROOT}/c/i10", f"{ROOT}/c/i9"]
    total = rest.pixels(graph(call("ImageCollection.mosaic", collection=collection)), GRID)["constant"]
    assert (total == 9).all()


def test_parents_must_exist_and_hold_such_assets(rest):
    assert "does not exist" in message(make(rest, constant(1), f"{ROOT}/no/x"))
    made(rest, constant(1), f"{ROOT}/image")
    assert "is of type IMAGE" in message(make(rest, constant(1), f"{ROOT}/image/x"))
    container(rest, "c", "IMAGE_COLLECTION")
    table = {"expression": graph(call("Collection", features=[])), **to_asset(f"{ROOT}/c/t")}
    assert "cannot hold assets of type TABLE" in message(rest.post(f"{rest.project}/table:export", table))
    assert "of type IMAGE_COLLECTION" in message(make(rest, constant(1), f"{ROOT}/c", overwrite=True))


def test_an_overwritten_asset_is_the_new_one(rest):
    made(rest, constant(1), f"{ROOT}/x")
    assert message(make(rest, constant(2), f"{ROOT}/x"), 409) == f"Cannot overwrite asset '{ROOT}/x'."
    made(rest, call("Image.rename", input=constant(2), names=["b"]), f"{ROOT}/x", overwrite=True)
    assert (rest.pixels(graph(call("Image.load", id=f"{ROOT}/x")), GRID)["b"] == 2).all()


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("projects/earthengine-legacy/assets/projects/p/assets/a", "projects/p/assets/a"),
        ("projects/earthengine-legacy/assets/users/someone.else/a", "users/someone.else/a"),
        ("users/someone/a", "users/someone/a"),
        ("projects/some-project/assets/a", "projects/some-project/assets/a"),
    ],
)
def test_long_and_short_names_are_one_asset(rest, name, identity):
    operation = make(rest, constant(3), name)
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    assert (rest.pixels(graph(call("Image.load", id=identity)), GRID)["constant"] == 3).all()


@pytest.mark.parametrize(
    "name",
    [f"{ROOT}/../../x", f"{ROOT}/a b", f"{ROOT}/.hidden", f"{ROOT}/asset.json", f"{ROOT}/", f"{ROOT}//x", f"{ROOT}/é",
     f"{ROOT}/" + "a" * 300, "/etc/passwd", f"{ROOT}/a\u0000b", f"{ROOT}/a%2Fb", "projects/p", "users/"],
)  # fmt: skip
def test_odd_names_are_refused_and_leave_nothing(rest, emulator, name):
    assert make(rest, constant(1), name).status_code == 400
    kept = {path.name for path in emulator.root.rglob("*") if path.is_file()}
    assert kept == set()


@pytest.mark.parametrize("prefix", ["../x", "a//b", "/x", "a/./b", "a\u0000b", "a" * 300, "a\nb"])
def test_odd_prefixes_are_refused(rest, emulator, prefix):
    for place in (
        {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": prefix}},
        {"driveDestination": {"filenamePrefix": prefix}},
    ):
        answer = rest.export(graph(constant(1)), grid=GRID, fileExportOptions=place)
        assert message(answer).startswith("Invalid file name prefix")
    bucket = {"cloudStorageDestination": {"bucket": "../b", "filenamePrefix": "x"}}
    assert "Invalid bucket name" in message(rest.export(graph(constant(1)), grid=GRID, fileExportOptions=bucket))
    assert emulator.operations == []


def test_a_property_that_no_asset_holds_fails_the_export(rest):
    odd = call("Element.set", object=constant(1), key="nested", value={"a": 1})
    operation = make(rest, odd, f"{ROOT}/x")
    assert "Property 'nested'" in operation["error"]["message"]
