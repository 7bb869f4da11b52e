"""Collections of the catalogue wait for filters, also when bands are chosen or collections merged first, as people write it."""

import pytest

PLACE = (11.3, 46.4)
NARROW = ("2022-05-01", "2022-06-15")


def here(ee, collection, start=NARROW[0], end=NARROW[1]):
    return collection.filterBounds(ee.Geometry.Point(PLACE)).filterDate(start, end)


def indices(collection):
    return collection.aggregate_array("system:index")


CHAINS = {
    "bands first": (
        lambda ee, images: here(ee, images.select(["SR_B4", "QA_PIXEL"])),
        lambda ee, images: here(ee, images),
    ),
    "a mask first": (
        lambda ee, images: here(ee, images.map(lambda image: image.updateMask(image.select("QA_PIXEL").lt(30000)))),
        lambda ee, images: here(ee, images),
    ),
    "bands added, chosen and named first": (
        lambda ee, images: here(
            ee, images.map(lambda image: image.addBands(ee.Image(1)).select(["SR_B4", "constant"]).rename(["a", "b"]))
        ),
        lambda ee, images: here(ee, images),
    ),
    "filters before and behind": (
        lambda ee, images: (
            images.filter(ee.Filter.lt("CLOUD_COVER", 60))
            .filterDate(*NARROW)
            .select("SR_B4")
            .filterBounds(ee.Geometry.Point(PLACE))
        ),
        lambda ee, images: here(ee, images.filter(ee.Filter.lt("CLOUD_COVER", 60))),
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_filters_find_the_same_behind_a_change_that_keeps_properties(evaluate, chain):
    changed, plain = CHAINS[chain]
    expected = evaluate(lambda ee: indices(plain(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2"))))
    assert len(expected) > 2
    assert evaluate(lambda ee: indices(changed(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2")))) == expected


def test_the_change_itself_is_made(evaluate):
    found = evaluate(
        lambda ee: here(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2").select(["SR_B4"], ["red"])).first().bandNames()
    )
    assert found == ["red"]


def both(ee):
    return [ee.ImageCollection(f"LANDSAT/LC0{number}/C02/T1_L2") for number in (8, 9)]


def test_filters_find_the_same_behind_a_merge(evaluate):
    def merged_last(ee):
        first, second = (here(ee, images) for images in both(ee))
        return indices(first.merge(second))

    def merged_first(ee):
        first, second = both(ee)
        return indices(here(ee, first.merge(second)))

    expected = evaluate(merged_last)
    assert {name[:7] for name in expected} == {"1_LC08_", "2_LC09_"}
    assert evaluate(merged_first) == expected


def test_a_filter_by_index_sees_the_merged_index(evaluate):
    def chosen(ee, index):
        first, second = (images.select("SR_B4") for images in both(ee))
        return indices(here(ee, first.merge(second)).filter(ee.Filter.eq("system:index", index)))

    name = evaluate(lambda ee: indices(here(ee, both(ee)[1])).get(0))
    assert evaluate(lambda ee: chosen(ee, f"2_{name}")) == [f"2_{name}"]
    assert evaluate(lambda ee: chosen(ee, name)) == []


def test_what_a_change_takes_away_is_not_found_behind_it(evaluate):
    found = evaluate(
        lambda ee: (
            here(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2"))
            .map(lambda image: image.select("SR_B4").multiply(2))
            .filter(ee.Filter.gt("CLOUD_COVER", -1))
            .size()
        )
    )
    assert found == 0


def test_stored_images_have_a_footprint_among_their_properties_and_composites_have_none(evaluate):
    scene = lambda ee: here(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2")).first()  # noqa: E731
    assert "system:footprint" in evaluate(lambda ee: scene(ee).propertyNames())
    assert evaluate(lambda ee: scene(ee).get("system:footprint"))["type"] == "LinearRing"
    composite = lambda ee: here(ee, ee.ImageCollection("LANDSAT/LC08/C02/T1_L2")).median()  # noqa: E731
    assert evaluate(lambda ee: composite(ee).propertyNames()) == ["system:bands", "system:band_names"]
    assert evaluate(lambda ee: composite(ee).get("system:footprint")) is None
