"""Collections: their order, their indices, their columns."""

import pytest


def trees(ee):
    rows = [("oak", 12), ("fir", 30.5), ("ash", None), ("elm", 12)]
    return ee.FeatureCollection(
        [
            ee.Feature(ee.Geometry.Point(number, 0), {"kind": kind} | ({} if height is None else {"height": height}))
            for number, (kind, height) in enumerate(rows)
        ]
    )


def kinds(value):
    return [feature["properties"]["kind"] for feature in value["features"]]


def ids(value):
    return [feature["id"] for feature in value["features"]]


def test_a_collection_shows_columns_and_ids(evaluate):
    found = evaluate(
        lambda ee: ee.FeatureCollection([ee.Feature(ee.Geometry.Point(1, 2), {"n": 3, "x": 0.5, "s": "t"})])
    )
    assert found == {
        "type": "FeatureCollection",
        "columns": {"n": "Integer", "s": "String", "system:index": "String", "x": "Float"},
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [1, 2]},
                "id": "0",
                "properties": {"n": 3, "x": 0.5, "s": "t"},
            }
        ],
    }


def test_columns_of_lists_and_of_several_types(evaluate):
    rows = [{"n": 1, "names": ["a", "b"], "mixed": 2}, {"n": 2.5, "names": ["c"], "mixed": "two"}, {"n": None}]
    shown = evaluate(lambda ee: ee.FeatureCollection([ee.Feature(None, row) for row in rows]))
    columns = {"n": "Number", "names": "List<String>", "mixed": "Object", "system:index": "String"}
    assert shown["columns"] == columns


def test_mapped_collections_do_not_know_their_columns(evaluate):
    assert evaluate(lambda ee: trees(ee).map(lambda each: each))["columns"] == {}


def test_images_show_their_index_among_their_properties(evaluate):
    found = evaluate(lambda ee: ee.ImageCollection([ee.Image(4), ee.Image(5)]).set("made", 7))
    assert [image["properties"] for image in found["features"]] == [{"system:index": "0"}, {"system:index": "1"}]
    assert (found["bands"], found["properties"]) == ([], {"made": 7})


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (lambda ee: trees(ee).sort("height"), ["oak", "elm", "fir", "ash"]),
        (lambda ee: trees(ee).sort("height", False), ["fir", "oak", "elm", "ash"]),
        (lambda ee: trees(ee).sort("kind"), ["ash", "elm", "fir", "oak"]),
        (lambda ee: trees(ee).limit(2), ["oak", "fir"]),
        (lambda ee: trees(ee).limit(1, "kind"), ["ash"]),
        (lambda ee: trees(ee).limit(9), ["oak", "fir", "ash", "elm"]),
        (lambda ee: trees(ee).distinct("height"), ["oak", "fir", "ash"]),
        (lambda ee: trees(ee).distinct([".geo"]), ["oak", "fir", "ash", "elm"]),
        (lambda ee: trees(ee).distinct(["kind", "height"]), ["oak", "fir", "ash", "elm"]),
        (
            lambda ee: trees(ee).map(lambda each: ee.Algorithms.If(each.get("height"), each, None), True),
            ["oak", "fir", "elm"],
        ),
        (lambda ee: ee.FeatureCollection(trees(ee).toList(2, 1)), ["fir", "ash"]),
    ],
)
def test_order(evaluate, make, order):
    assert kinds(evaluate(make)) == order


@pytest.mark.parametrize(
    ("make", "indices"),
    [
        (lambda ee: trees(ee), ["0", "1", "2", "3"]),
        (lambda ee: trees(ee).filter(ee.Filter.gt("height", 15)), ["1"]),
        (lambda ee: trees(ee).sort("kind"), ["2", "3", "1", "0"]),
        (lambda ee: trees(ee).map(lambda _: ee.Feature(None, {"n": 1})), ["0", "1", "2", "3"]),
        (lambda ee: trees(ee).limit(1).merge(trees(ee).limit(2)), ["1_0", "2_0", "2_1"]),
        (
            lambda ee: ee.FeatureCollection([trees(ee).limit(1), trees(ee).limit(2)]).flatten(),
            ["0_0", "1_0", "1_1"],
        ),
        (lambda ee: trees(ee).limit(2).map(lambda _: trees(ee).limit(2)).flatten(), ["0_0", "0_1", "1_0", "1_1"]),
        (lambda ee: ee.FeatureCollection([ee.Feature(None, {"system:index": "own"}), ee.Feature(None)]), ["own", "1"]),
        (lambda ee: ee.FeatureCollection(trees(ee).toList(2, 2)), ["2", "3"]),
        (lambda ee: trees(ee).union(1), ["union_result"]),
    ],
)
def test_indices(evaluate, make, indices):
    assert ids(evaluate(make)) == indices


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda ee: trees(ee).size(), 4),
        (lambda ee: ee.FeatureCollection([]).size(), 0),
        (lambda ee: ee.FeatureCollection([]).first(), None),
        (lambda ee: ee.Feature(trees(ee).first()).get("kind"), "oak"),
        (lambda ee: ee.Feature(trees(ee).first()).id(), "0"),
        (lambda ee: ee.Feature(trees(ee).first()).get("system:index"), "0"),
        (lambda ee: trees(ee).toList(9, 3).size(), 1),
        (lambda ee: trees(ee).toList(9, 9), []),
        (lambda ee: trees(ee).iterate(lambda _, total: ee.Number(total).add(1), 10), 14),
        (lambda ee: trees(ee).geometry(), {"type": "MultiPoint", "coordinates": [[0, 0], [1, 0], [2, 0], [3, 0]]}),
        (lambda ee: trees(ee).limit(1).geometry(), {"type": "Point", "coordinates": [0, 0]}),
        (
            lambda ee: (
                ee.FeatureCollection([ee.Geometry.BBox(0, 0, 2, 2), ee.Geometry.BBox(1, 1, 3, 3)]).geometry().type()
            ),
            "MultiPolygon",
        ),
        (
            lambda ee: trees(ee).geometry().bounds(),
            {"type": "Polygon", "coordinates": [[[0, 0], [3, 0], [3, 0], [0, 0], [0, 0]]], "geodesic": False},
        ),
        (
            lambda ee: trees(ee).remap(["oak", "elm"], [3, 4], "kind").aggregate_array("kind"),
            [3, 4],
        ),
        (lambda ee: ee.Feature(trees(ee).union(1).first()).toDictionary(), {}),
        (
            lambda ee: (
                ee.ImageCollection([ee.Image(1).rename("a")])
                .combine(ee.ImageCollection([ee.Image(2).rename("a"), ee.Image(3)]))
                .first()
                .bandNames()
            ),
            ["a", "a_1"],
        ),
        (
            lambda ee: (
                ee.ImageCollection([ee.Image(1).set("system:index", "x")])
                .combine(ee.ImageCollection([ee.Image(2)]))
                .size()
            ),
            0,
        ),
    ],
)
def test_values(evaluate, make, value):
    assert evaluate(make) == value


def two_images(ee):
    return ee.ImageCollection(
        [ee.Image(1).rename("a").set("key", "x"), ee.Image([2, 3]).rename(["a", "b"]).set("key", "y")]
    )


def test_cast_images_have_the_same_bands(evaluate):
    found = evaluate(
        lambda ee: ee.ApiFunction.call_(
            "ImageCollection.cast", two_images(ee), {"a": "float", "b": "uint8"}, ["b", "a"]
        )
    )
    bands = [[(band["id"], band["data_type"]["precision"]) for band in image["bands"]] for image in found["features"]]
    assert bands == [[("b", "int"), ("a", "float")]] * 2


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (
            lambda ee: ee.Image(9).set("key", "y").linkCollection(two_images(ee), ["b"], None, "key").bandNames(),
            ["constant", "b"],
        ),
        (
            lambda ee: (
                ee.Image(9)
                .set("key", "y")
                .linkCollection(two_images(ee), "b", "key", "key")
                .select("b")
                .reduceRegion("mean", ee.Geometry.Point(1, 1), 10)
            ),
            {"b": 3},
        ),
        (
            lambda ee: (
                ee.Image(9)
                .set("key", "z")
                .linkCollection(two_images(ee), "a", None, "key")
                .select("a")
                .reduceRegion("mean", ee.Geometry.Point(1, 1), 10)
            ),
            {"a": None},
        ),
        (
            lambda ee: (
                ee.Image(9).set("key", "z").linkCollection(two_images(ee), None, ["colour"], "key").get("colour")
            ),
            None,
        ),
        (lambda ee: trees(ee).makeArray(["height"], "sizes").aggregate_array("sizes"), [[12], [30.5], [12]]),
        (lambda ee: ee.Feature(None, {"p": 1, "q": 2.5}).toArray(["q", "p"]), [2.5, 1]),
    ],
)
def test_links_and_arrays(evaluate, make, value):
    assert evaluate(make) == value


def test_overlapping_areas_dissolve_in_a_union(evaluate):
    found = evaluate(
        lambda ee: ee.FeatureCollection([ee.Geometry.BBox(0, 0, 2, 2), ee.Geometry.BBox(1, 0, 3, 2)]).union(1)
    )
    (feature,) = found["features"]
    assert (feature["properties"], feature["geometry"]["type"]) == ({}, "Polygon")


def test_columns_make_features(evaluate):
    found = evaluate(lambda ee: ee.ApiFunction.call_("Collection.fromColumns", [["a", "b"], [1, 2]], ["name", "n"]))
    assert [feature["properties"] for feature in found["features"]] == [{"name": "a", "n": 1}, {"name": "b", "n": 2}]


def test_collections_inside_of_other_values_show_no_elements(evaluate):
    woods = {"type": "FeatureCollection", "columns": {"age": "Integer", "system:index": "String"}}
    feature = "{'type': 'Feature'"

    def wood(ee):
        return ee.FeatureCollection([ee.Feature(None, {"age": 80})])

    assert evaluate(lambda ee: ee.Dictionary({"wood": wood(ee)})) == {"wood": woods}
    assert evaluate(lambda ee: ee.List([wood(ee), 2])) == [woods, 2]
    (inner,) = evaluate(lambda ee: ee.FeatureCollection([wood(ee)]))["features"]
    assert "features" not in inner
    assert feature not in str(evaluate(lambda ee: ee.Feature(None, {"wood": wood(ee)}))["properties"])
    assert evaluate(lambda ee: ee.List([ee.ImageCollection([])])) == [{"type": "ImageCollection", "bands": []}]
    assert len(evaluate(lambda ee: wood(ee))["features"]) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: trees(ee).map(lambda each: ee.Algorithms.If(0, each, None)), "must not return null"),
        (lambda ee: trees(ee).map(lambda each: each.get("kind")), "must return a Feature or Image"),
        (lambda ee: trees(ee).remap(["oak"], [1, 2], "kind"), "same size"),
        (lambda ee: trees(ee).flatten(), "must be a collection"),
        (
            lambda ee: ee.FeatureCollection(
                [ee.Geometry.BBox(0, 0, 1, 1), ee.Geometry.Polygon([[0, 0], [1, 1], [0, 1]])]
            ).geometry(),
            "must share the projection and edge interpretation",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(refusal, make, words):
    assert words in refusal(make)
