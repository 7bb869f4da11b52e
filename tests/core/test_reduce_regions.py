"""Regions are cut into requests, and every one of them comes back once and in its place."""

import itertools
import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.errors import ComputationTimedOut, MalformedResponse
from airflow_ee.core.expression import Expression, constant, invoke
from airflow_ee.core.reduce_regions import MARGIN_BYTES, MARK, RegionReducer, RegionRequests, parse_regions
from airflow_ee.core.settings import Limits

IMAGE = Expression.parse({"result": "0", "values": {"0": invoke("Image.constant", value=constant(1))}})


class Service:
    """Answers with a mean of each region's number, in pages of its own size; is told what to find too much."""

    def __init__(self, *, max_body_bytes=10_485_760, most=10**9, page=10**9, change=lambda features: features):
        self.settings = SimpleNamespace(limits=Limits(max_body_bytes=max_body_bytes))
        self.most, self.page, self.change, self.asked = most, page, change, []

    def compute_feature_pages(self, expression, *, page_size, workload_tag):
        graph = expression.graph
        arguments = graph["values"][graph["result"]]["functionInvocationValue"]["arguments"]
        nodes = arguments["collection"]["functionInvocationValue"]["arguments"]["features"]["arrayValue"]["values"]
        marks = [node["functionInvocationValue"]["arguments"]["metadata"]["constantValue"][MARK] for node in nodes]
        size = len(json.dumps({"expression": graph, "pageToken": "x" * 1000}, separators=(",", ":")))
        assert size <= self.settings.limits.max_body_bytes
        self.asked.append(marks)
        if len(marks) > self.most:
            raise ComputationTimedOut("Computation timed out.")
        features = self.change([{"type": "Feature", "properties": {MARK: mark, "mean": mark}} for mark in marks])
        for start in range(0, len(features), self.page):
            yield features[start : start + self.page]


def points(count, width=0):
    return parse_regions(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": {"type": "MultiPoint", "coordinates": [[number / 100, 0.5]] * (1 + number * width % 7)},
                    "properties": {"n": number},
                }
                for number in range(count)
            ],
        }
    )


def requests_to(service, **more):
    reducer = RegionReducer(image=IMAGE, statistics=("mean",), scale=30)
    return RegionRequests(client=service, reducer=reducer, bands=["constant"], **more)


@settings(deadline=None)
@given(
    count=st.integers(1, 40), width=st.integers(0, 20), room=st.integers(1200, 6000),
    page_size=st.integers(1, 50), most=st.integers(1, 40), page=st.integers(1, 9),
)  # fmt: skip
def test_no_region_is_lost_or_doubled_however_requests_are_cut(count, width, room, page_size, most, page):
    service = Service(max_body_bytes=MARGIN_BYTES + room, most=most, page=page)
    asking = requests_to(service, page_size=page_size)
    rows = [feature["properties"] for feature in asking.over_regions(points(count, width))]
    assert rows == [{"n": number, "mean": float(number)} for number in range(count)]
    assert all(isinstance(row["mean"], float) for row in rows)
    taken = [marks for marks in service.asked if len(marks) <= most]
    assert list(itertools.chain(*taken)) == list(range(count))
    assert max(map(len, taken)) <= page_size
    assert asking.requests == sum(-(-len(marks) // page) for marks in taken)


def test_what_was_too_much_is_not_asked_for_again():
    service = Service(most=10)
    list(requests_to(service).over_regions(points(64)))
    assert [len(marks) for marks in service.asked] == [64, 32, 16, 8, 8, 8, 8, 8, 8, 8, 8]


@pytest.mark.parametrize(
    "change",
    [
        lambda features: features[:-1],
        lambda features: [*features, features[0]],
        lambda features: [*features[:-1], features[0]],
        lambda features: [*features[:-1], {"type": "Feature", "properties": {"mean": 1}}],
        lambda features: [*features[:-1], {"type": "Feature", "properties": None}],
    ],
)
def test_an_answer_that_lacks_a_region_is_told(change):
    with pytest.raises(MalformedResponse, match="Asked for 5 regions from number 0 on"):
        list(requests_to(Service(change=change)).over_regions(points(5)))


def test_an_answer_in_another_order_is_put_in_order():
    service = Service(change=lambda features: features[::-1])
    rows = list(requests_to(service).over_regions(points(5)))
    assert [row["properties"]["mean"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_an_expression_that_fills_the_request_is_told():
    service = Service(max_body_bytes=MARGIN_BYTES + 100)
    with pytest.raises(ValueError, match=r"expression takes \d+ bytes, which leaves no room for regions"):
        list(requests_to(service).over_regions(points(1)))


def test_names_are_earth_engines():
    reducer = RegionReducer(image=IMAGE, statistics=("count", "mean"), scale=30)
    assert reducer.columns(["a"]) == ["count", "mean"]
    assert reducer.columns(["a", "b"]) == ["a_count", "a_mean", "b_count", "b_mean"]
    assert reducer.whole(reducer.columns(["a", "b"])) == {"a_count", "b_count"}
    alone = RegionReducer(image=IMAGE, statistics=("count",), scale=30)
    assert alone.columns(["a", "b"]) == ["a", "b"]
    assert alone.whole(["a", "b"]) == {"a", "b"}


def test_regions_keep_their_ids_properties_and_flat_geometries():
    ring = [[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]
    found = parse_regions(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "id": 7,
                        "geometry": {"type": "Polygon", "coordinates": [ring]},
                        "properties": None,
                    },
                    {
                        "type": "Feature",
                        "geometry": {"type": "Point", "coordinates": [1, 2]},
                        "properties": {"system:index": "a"},
                    },
                    {"type": "Point", "coordinates": [3, 4]},
                ],
            }
        )
    )
    assert [region.index for region in found] == ["7", "a", "2"]
    assert [dict(region.properties) for region in found] == [{}, {}, {}]
    assert found[0].geometry == {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "regions must be GeoJSON"),
        ([1, 2], "regions must be a GeoJSON object, got list"),
        ({"type": "FeatureCollection", "features": []}, "regions is empty"),
        ({"type": "FeatureCollection", "features": [3]}, "number 0 is no GeoJSON"),
        ({"type": "Point", "coordinates": [200, 0]}, "it leaves the world"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]}, "not a valid polygon"),
    ],
)
def test_what_is_no_region_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        parse_regions(value)
