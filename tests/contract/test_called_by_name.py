"""Functions that Google's client calls by way of others, or under another name: called by their own."""

import pytest

SQUARE = [[[10, 45], [11, 45], [11, 46], [10, 46], [10, 45]]]


def call(ee, name, **arguments):
    return ee.apply(name, arguments)


def point(ee, longitude, latitude=45.0):
    return ee.Feature(ee.Geometry.Point(longitude, latitude), {"name": f"at {longitude}"})


def info(value):
    return value.getInfo()


def test_the_box_around_a_collection(ee):
    found = info(call(ee, "Collection.bounds", collection=ee.FeatureCollection([point(ee, 10), point(ee, 12, 47)])))
    ring = found["coordinates"][0]
    assert [min(c[0] for c in ring), min(c[1] for c in ring)] == pytest.approx([10, 45], abs=1e-6)
    assert [max(c[0] for c in ring), max(c[1] for c in ring)] == pytest.approx([12, 47], abs=1e-6)


def test_a_cached_collection_is_the_collection(ee):
    places = ee.FeatureCollection([point(ee, 10), point(ee, 12)])
    assert info(ee.FeatureCollection(call(ee, "Collection.cache", collection=places)).size()) == 2


@pytest.mark.parametrize("how", [{"color": "ff0000"}, {"color": "blue", "pointRadius": 5}])
def test_a_drawn_collection_is_three_bands_of_bytes(ee, how):
    shape = ee.FeatureCollection([ee.Feature(ee.Geometry.Polygon(SQUARE))])
    drawn = ee.Image(call(ee, "Collection.draw", collection=shape, **how))
    inside = info(drawn.reduceRegion(ee.Reducer.first(), ee.Geometry.Point(10.5, 45.5), 1000))
    expected = {"ff0000": [255, 0, 0], "blue": [0, 0, 255]}[how["color"]]
    assert [inside[name] for name in ("vis-red", "vis-green", "vis-blue")] == expected


def test_a_style_fills_with_its_own_colour(ee):
    shape = ee.FeatureCollection([ee.Feature(ee.Geometry.Polygon(SQUARE))])
    drawn = ee.Image(call(ee, "Collection.style", collection=shape, color="000000", fillColor="00ff00"))
    inside = info(drawn.reduceRegion(ee.Reducer.first(), ee.Geometry.Point(10.5, 45.5), 1000))
    assert [inside[name] for name in ("vis-red", "vis-green", "vis-blue")] == [0, 255, 0]


def test_an_elements_geometry_is_its_features(ee):
    assert info(call(ee, "Element.geometry", feature=point(ee, 10)))["coordinates"] == [10, 45]


def test_properties_are_added_or_replaced_whole(ee):
    feature = ee.Feature(None, {"a": 1, "b": 2})
    more = ee.Feature(None, {"b": 5, "c": 6})
    added = call(ee, "Element.setMulti", object=feature, properties={"b": 3, "d": 4})
    assert info(ee.Feature(added))["properties"] == {"a": 1, "b": 3, "d": 4}
    replaced = call(ee, "Element.replaceProperties", destination=feature, source=more)
    assert info(ee.Feature(replaced))["properties"] == {"b": 5, "c": 6}


def test_the_nearest_point_of_another_shape(ee):
    line = ee.Feature(ee.Geometry.LineString([[9, 46], [13, 46]], None, False))
    place = point(ee, 11)
    found = info(call(ee, "Feature.closestPoint", left=place, right=line, maxError=1))["coordinates"]
    assert found == pytest.approx([11, 46], abs=0.02)
    both = info(call(ee, "Feature.closestPoints", left=place, right=line, maxError=1))
    assert both["left"]["coordinates"] == pytest.approx([11, 45], abs=1e-6)
    assert both["right"]["coordinates"] == pytest.approx(found, abs=1e-6)


def test_a_line_is_cut_into_parts_of_a_length(ee):
    line = ee.Feature(ee.Geometry.LineString([[10, 0], [10.03, 0]]))
    found = info(call(ee, "Feature.cutLines", feature=line, distances=[0, 1000, 2500], maxError=1))["geometry"]
    lengths = [info(ee.Geometry.LineString(part).length(1)) for part in found["coordinates"]]
    assert lengths[:2] == pytest.approx([1000, 1500], rel=1e-2)
    assert sum(lengths) == pytest.approx(info(line.geometry().length(1)), rel=1e-3)


@pytest.mark.parametrize(("distance", "expected"), [(70_000, False), (90_000, True)])
def test_within_a_distance(ee, distance, expected):
    here, there = point(ee, 10), point(ee, 11)
    arguments = {"distance": distance, "maxError": 1}
    assert info(call(ee, "Feature.withinDistance", left=here, right=there, **arguments)) is expected
    shapes = {"left": here.geometry(), "right": there.geometry()}
    assert info(call(ee, "Geometry.withinDistance", **shapes, **arguments)) is expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("greaterThanOrEquals", {"leftField": "n", "rightValue": 2}, [2, 3]),
        ("lessThanOrEquals", {"leftField": "n", "rightValue": 2}, [1, 2]),
        ("notEquals", {"leftField": "n", "rightValue": 2}, [1, 3]),
        ("inList", {"leftValue": [3, 1], "rightField": "n"}, [1, 3]),
        ("listContains", {"leftValue": [1, 3], "rightField": "n"}, [1, 3]),
    ],
)
def test_filters_by_their_own_names(ee, name, arguments, expected):
    numbers = ee.FeatureCollection([ee.Feature(None, {"n": n}) for n in (1, 2, 3)])
    kept = call(ee, "Collection.filter", collection=numbers, filter=ee.Filter(call(ee, f"Filter.{name}", **arguments)))
    assert info(ee.FeatureCollection(kept).aggregate_array("n")) == expected


def test_images_are_combined_and_told_of(ee):
    image = ee.Image(2).rename("two").set("system:time_start", 86_400_000)
    combined = ee.Image(call(ee, "Image.cat", images=[image, ee.Image(3).rename("three")]))
    assert info(combined.bandNames()) == ["two", "three"]
    assert info(ee.Date(call(ee, "Image.date", image=image)).format()) == "1970-01-02T00:00:00"
    first = ee.Image(call(ee, "Image.first", image1=image, image2=ee.Image(9)))
    assert info(first.reduceRegion(ee.Reducer.first(), ee.Geometry.Point(10, 45), 1000)) == {"two": 2}
    indexed = ee.ImageCollection([image.set("system:index", "a")]).first()
    assert info(call(ee, "Image.id", element=indexed)) == "a"


def test_lists_hold_geometries_and_have_a_length(ee):
    places = ee.List([ee.Geometry.Point(1, 2), ee.Geometry.Point(3, 4)])
    assert info(call(ee, "List.getGeometry", list=places, index=-1))["coordinates"] == [3, 4]
    assert info(call(ee, "List.length", list=places)) == 2


def test_a_feature_is_moved_to_another_projection(ee):
    moved = info(call(ee, "ProjectionTransform", feature=point(ee, 9), proj=ee.Projection("EPSG:32632"), maxError=1))
    assert moved["geometry"]["coordinates"] == pytest.approx([500_000, 4_982_950.4], abs=0.1)


@pytest.mark.parametrize(("name", "expected"), [("and", 0), ("or", 1)])
def test_logic_of_all_rows(ee, name, expected):
    numbers = ee.List([ee.Feature(None, {"n": n}) for n in (0, 2)])
    reduced = ee.FeatureCollection(numbers).reduceColumns(ee.Reducer(call(ee, f"Reducer.{name}")), ["n"])
    assert info(reduced.values()) == [expected]


def test_the_widest_whole_type(ee):
    assert info(call(ee, "PixelType.int64"))["precision"] == "int"
    assert info(ee.Image(5).toInt64().bandTypes())["constant"]["max"] == 2**63 - 1


def test_matrices_are_turned_and_inverted_as_far_as_may_be(ee):
    wide = ee.Array([[1, 2, 3]])
    assert info(call(ee, "Array.matrixTranspose", array=wide)) == [[1], [2], [3]]
    found = info(call(ee, "Array.matrixPseudoInverse", input=wide))
    assert [row[0] for row in found] == pytest.approx([1 / 14, 2 / 14, 3 / 14])


def test_scenes_of_a_place_are_limited_to_the_best(ee):
    def scene(name, path, cloud):
        properties = {"system:index": name, "WRS_PATH": path, "WRS_ROW": 30, "CLOUD_COVER": cloud}
        return ee.Image(1).set({**properties, "SPACECRAFT_ID": "LANDSAT_8", "system:time_start": 0})

    scenes = ee.ImageCollection([scene("a", 44, 50), scene("b", 44, 10), scene("c", 44, 30), scene("d", 45, 90)])
    limited = ee.ImageCollection(ee.Algorithms.Landsat.pathRowLimit(scenes, 2, 10))
    assert sorted(info(limited.aggregate_array("system:index"))) == ["b", "c", "d"]


def test_what_does_nothing_leaves_a_scene_as_it_is(ee):
    scene = ee.Image(call(ee, "Landsat.translateMetadata", input=ee.Image(3).set("SUN_ELEVATION", 41)))
    assert info(scene.get("SUN_ELEVATION")) == 41
