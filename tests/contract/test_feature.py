"""Features: their properties, and geometry functions on them."""

import pytest

POINT = {"type": "Point", "coordinates": [7, 46]}


def tree(ee):
    return ee.Feature(ee.Geometry.Point(7, 46), {"height": 21.5, "kind": "oak", "girth_1": 3, "girth_2": 4})


@pytest.mark.parametrize(
    ("make", "properties", "geometry"),
    [
        (lambda ee: tree(ee).select(["kind"]), {"kind": "oak"}, POINT),
        (lambda ee: tree(ee).select(["girth_.*"]), {"girth_1": 3, "girth_2": 4}, POINT),
        (lambda ee: tree(ee).select(["girth_2", "girth_.*"]), {"girth_2": 4, "girth_1": 3}, POINT),
        (lambda ee: tree(ee).select(["kind", "height"], ["a", "b"]), {"a": "oak", "b": 21.5}, POINT),
        (lambda ee: tree(ee).select(["kind"], None, False), {"kind": "oak"}, None),
        (lambda ee: tree(ee).select(["bark"]), {}, POINT),
        (lambda ee: tree(ee).select([]).set("new", 1), {"new": 1}, POINT),
        (lambda ee: ee.Feature(tree(ee).select([])).setGeometry(None), {}, None),
        (
            lambda ee: ee.Feature(tree(ee).select([])).setGeometry(ee.Geometry.Point(1, 2)),
            {},
            {"type": "Point", "coordinates": [1, 2]},
        ),
        (lambda ee: ee.Feature(None), {}, None),
        (lambda ee: ee.Feature(tree(ee).select(["kind"])).convexHull(), {"kind": "oak"}, POINT),
        (
            lambda ee: ee.Feature(tree(ee).select(["kind"])).bounds(),
            {"kind": "oak"},
            {"type": "Polygon", "coordinates": [[[7, 46]] * 5], "geodesic": False},
        ),
        (
            lambda ee: ee.Feature(tree(ee).select(["kind"])).intersection(ee.Feature(ee.Geometry.BBox(6, 45, 8, 47))),
            {"kind": "oak"},
            POINT,
        ),
    ],
)
def test_functions_keep_what_they_do_not_change(evaluate, make, properties, geometry):
    found = evaluate(make)
    assert (found["properties"], found["geometry"]) == (properties, geometry)


@pytest.mark.parametrize(
    "name",
    ["area", "length", "perimeter", "centroid", "bounds", "convexHull", "dissolve", "simplify", "buffer", "transform"],
)
def test_a_feature_answers_as_its_geometry(evaluate, name):
    arguments = {"simplify": [100], "buffer": [100], "transform": ["EPSG:3857", 1]}.get(name, [1])

    def answers(ee):
        shape = ee.Geometry.Polygon([[8, 47], [8.2, 47], [8.1, 47.3]])
        of_feature = getattr(ee.Feature(shape, {"a": 1}), name)(*arguments)
        return ee.List([of_feature, getattr(shape, name)(*arguments)])

    of_feature, of_geometry = evaluate(answers)
    assert (of_feature["geometry"] if isinstance(of_feature, dict) else of_feature) == of_geometry


@pytest.mark.parametrize(
    "name",
    ["intersects", "disjoint", "contains", "containedIn", "distance", "union", "difference", "symmetricDifference"],
)
def test_two_features_answer_as_their_geometries(evaluate, name):
    def answers(ee):
        one, other = ee.Geometry.BBox(0, 0, 2, 2), ee.Geometry.BBox(1, 1, 3, 3)
        return ee.List([getattr(ee.Feature(one), name)(ee.Feature(other), 1), getattr(one, name)(other, 1)])

    of_features, of_geometries = evaluate(answers)
    assert (of_features["geometry"] if isinstance(of_features, dict) else of_features) == of_geometries


def test_a_feature_without_a_place_has_a_null_geometry(evaluate):
    assert evaluate(lambda ee: ee.Feature(None, {"a": 1}).geometry()) is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: ee.Feature(None, {"a": 1}).area(), "no geometry"),
        (lambda ee: tree(ee).select(["kind", "height"], ["a"]), "2 properties were selected"),
        (lambda ee: tree(ee).select(["("]), "Invalid property selector"),
    ],
)
def test_what_makes_no_sense_is_refused(refusal, make, words):
    assert words in refusal(make)
