"""Joins: which elements, with which others, in which order."""

import time

import pytest

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values.element import Collection, Feature


def shops(ee):
    return ee.FeatureCollection(
        [ee.Feature(ee.Geometry.Point(n, 0), {"town": n, "shop": f"s{n}"}) for n in (0, 1, 1, 2)]
    )


def people(ee):
    rows = [(1, "e", 30), (1, "f", 20), (2, "g", 10), (3, "h", 40)]
    return ee.FeatureCollection(
        [ee.Feature(ee.Geometry.Point(home, 0.1), {"home": home, "name": name, "age": age}) for home, name, age in rows]
    )


def joined(ee, join, condition=None):
    return join.apply(shops(ee), people(ee), condition or ee.Filter.equals(leftField="town", rightField="home"))


def names(match):
    return [each["properties"]["name"] for each in match]


@pytest.mark.parametrize(
    ("make", "ids"),
    [
        (lambda ee: joined(ee, ee.Join.simple()), ["1", "2", "3"]),
        (lambda ee: joined(ee, ee.Join.inverted()), ["0"]),
        (lambda ee: joined(ee, ee.Join.saveFirst("m")), ["1", "2", "3"]),
        (lambda ee: joined(ee, ee.Join.saveFirst("m", outer=True)), ["0", "1", "2", "3"]),
        (lambda ee: joined(ee, ee.Join.saveAll("m")), ["1", "2", "3"]),
        (lambda ee: joined(ee, ee.Join.inner()), ["1_0", "1_1", "2_0", "2_1", "3_2"]),
    ],
)
def test_which_elements_are_left(evaluate, make, ids):
    assert [feature["id"] for feature in evaluate(make)["features"]] == ids


def test_pairs_hold_both_elements(evaluate):
    found = evaluate(lambda ee: joined(ee, ee.Join.inner("shop", "client")))["features"]
    assert [
        (pair["properties"]["shop"]["id"], pair["properties"]["client"]["properties"]["name"]) for pair in found
    ] == [
        ("1", "e"),
        ("1", "f"),
        ("2", "e"),
        ("2", "f"),
        ("3", "g"),
    ]
    assert {pair["geometry"] for pair in found} == {None}


@pytest.mark.parametrize(
    ("join", "matches"),
    [
        (lambda ee: ee.Join.saveAll("m"), ["e", "f"]),
        (lambda ee: ee.Join.saveAll("m", "age"), ["f", "e"]),
        (lambda ee: ee.Join.saveAll("m", "age", False), ["e", "f"]),
        (lambda ee: ee.Join.saveFirst("m"), ["e"]),
        (lambda ee: ee.Join.saveFirst("m", "age"), ["f"]),
    ],
)
def test_matches_in_order(evaluate, join, matches):
    found = evaluate(lambda ee: ee.Feature(joined(ee, join(ee)).first()).get("m"))
    assert names(found if isinstance(found, list) else [found]) == matches


def test_the_best_match_is_the_nearest_in_time(evaluate):
    def best(ee):
        near = ee.Filter.maxDifference(15, leftField="age", rightField="age")
        others = ee.FeatureCollection([ee.Feature(None, {"age": age}) for age in (12, 24, 33, 99)])
        return ee.Join.saveBest("best", "apart").apply(people(ee), others, near)

    found = [feature["properties"] for feature in evaluate(best)["features"]]
    assert [(each["age"], each["best"]["properties"]) for each in found] == [
        (30, {"age": 33, "apart": 3}),
        (20, {"age": 24, "apart": 4}),
        (10, {"age": 12, "apart": 2}),
        (40, {"age": 33, "apart": 7}),
    ]


def test_places_join_by_distance(evaluate):
    def near(ee):
        close = ee.Filter.withinDistance(20000, leftField=".geo", rightField=".geo", maxError=1)
        return joined(ee, ee.Join.saveAll("m", "name", measureKey="metres"), close)

    found = evaluate(near)["features"]
    assert [(feature["id"], names(feature["properties"]["m"])) for feature in found] == [
        ("1", ["e", "f"]),
        ("2", ["e", "f"]),
        ("3", ["g"]),
    ]
    # A tenth of a degree along a meridian at the equator.
    assert found[0]["properties"]["m"][0]["properties"]["metres"] == pytest.approx(11057.43, abs=0.01)


def test_conditions_on_one_side_alone(evaluate):
    def both(ee):
        condition = ee.Filter.And(
            ee.Filter.equals(leftField="town", rightField="home"), ee.Filter.lessThan(rightField="age", leftValue=25)
        )
        return joined(ee, ee.Join.inner(), condition)

    assert [feature["id"] for feature in evaluate(both)["features"]] == ["1_0", "2_0"]


def test_images_join_by_index(evaluate):
    """As in Google's notebook on clouds: the probability of a scene is the image of the same index."""

    def with_clouds(ee):
        scenes = ee.ImageCollection([ee.Image(n).set("system:index", f"scene{n}") for n in (1, 2, 3)])
        clouds = ee.ImageCollection([ee.Image(n * 10).rename("p").set("system:index", f"scene{n}") for n in (3, 1)])
        same = ee.Filter.equals(leftField="system:index", rightField="system:index")
        result = ee.ImageCollection(ee.Join.saveFirst("clouds").apply(scenes, clouds, same))
        return result.map(lambda image: ee.Image(image.get("clouds")).set("scene", image.get("system:index")))

    found = evaluate(with_clouds)
    assert found["type"] == "ImageCollection"
    assert [(image["bands"][0]["id"], image["properties"]["scene"]) for image in found["features"]] == [
        ("p", "scene1"),
        ("p", "scene3"),
    ]


def test_a_best_match_needs_a_measure(refusal):
    assert "needs a condition with a measure" in refusal(lambda ee: joined(ee, ee.Join.saveBest("m", "d")))


def test_equality_joins_do_not_look_at_every_pair():
    many = Collection([Feature(None, {"n": n}) for n in range(20000)])
    condition = registry.call("Filter.equals", {"leftField": "n", "rightField": "n"})
    started = time.process_time()
    result = registry.call(
        "Join.apply",
        {"join": registry.call("Join.inner", {}), "primary": many, "secondary": many, "condition": condition},
    )
    assert len(result.elements) == 20000
    assert time.process_time() - started < 5
