"""The client against the emulator over real sockets: methods, faults, credentials."""

import http.server
import itertools
import json
import re
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError

from airflow_ee.core import errors, wire
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import decode_npy
from airflow_ee.core.expression import Expression, constant, invoke, load_image
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.region import Region
from airflow_ee.core.settings import ClientSettings, RetryPolicy
from airflow_ee.core.transport import Response

IMAGE = "MODIS/061/MOD13Q1/2023_06_10"
BOX = Region.parse([-55.6, -12.1, -55.5, -12.0])
GRID = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6050632.423, 0, -231.65635826395834, -1334340.6232),
    width=20,
    height=10,
)
QUICK = RetryPolicy(attempts=4, initial_seconds=0.01, maximum_seconds=0.02)


def connected(url, credentials=None, **settings):
    settings = {"retry": QUICK, "request_timeout_seconds": 20, **settings}
    return EarthEngineClient(
        ClientSettings(project="demo-project", endpoint=url, high_volume_endpoint=url, **settings), credentials
    )


@pytest.fixture
def client(emulator):
    with connected(emulator.url) as made:
        yield made


def pixels(client):
    return client.get_pixels(IMAGE, file_format="NPY", grid=GRID, band_ids=["NDVI"])


def test_pixels_come_with_the_grid_and_bands_asked_for(client):
    array = decode_npy(pixels(client), shape=(10, 20), bands=["NDVI"])
    assert array["NDVI"].dtype == np.int16
    assert client.simulated
    assert client.emulated


@pytest.mark.parametrize(
    "fault", ["429", "429 retry-after=0", "429 quota", "500", "503", "drop", "lose-response", "truncate"]
)
def test_a_passing_fault_is_cured_by_asking_again(emulator, client, fault):
    emulator.inject("getPixels", fault, fault)
    decode_npy(pixels(client), shape=(10, 20), bands=["NDVI"])
    assert emulator.calls.count("getPixels") == 3
    assert not emulator.pending


def test_faults_that_do_not_pass_are_raised_when_attempts_are_used_up(emulator, client):
    emulator.inject("getPixels", *["503"] * 4)
    with pytest.raises(errors.Unavailable, match="unavailable"):
        pixels(client)
    assert not emulator.pending


def test_an_answer_that_never_comes_is_a_passing_failure(emulator):
    emulator.inject("getPixels", "hang")
    with connected(emulator.url, request_timeout_seconds=0.5) as client:
        decode_npy(pixels(client), shape=(10, 20), bands=["NDVI"])
    assert not emulator.pending


def test_a_corrupted_answer_is_told_and_not_taken_for_pixels(emulator, client):
    emulator.inject("getPixels", "corrupt")
    with pytest.raises(errors.MalformedResponse):
        decode_npy(pixels(client), shape=(10, 20), bands=["NDVI"])
    assert not emulator.pending


def test_a_spoilt_json_answer_is_asked_for_again(emulator, client):
    emulator.inject("assets.get", "corrupt", "corrupt")
    assert client.get_asset(IMAGE).type == "IMAGE"
    assert emulator.calls.count("assets.get") == 3
    assert not emulator.pending


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("400 timeout", errors.ComputationTimedOut, "Computation timed out. Ask for a smaller grid, or use EarthEngineExport"),
        ("400 memory", errors.MemoryLimitExceeded, "User memory limit exceeded. Ask for a smaller grid"),
        ("400 too-large", errors.RequestTooLarge, "must be less than or equal to 50331648 bytes. Ask for fewer"),
        ("401", errors.Unauthenticated, "invalid authentication credentials.*Check the credentials"),
        ("403 permission=earthengine.assets.get", errors.PermissionDenied, "Permission 'earthengine.assets.get' denied.*Grant"),
        ("403 not-registered", errors.ProjectNotRegistered, "not registered to use Earth Engine.*Register"),
        ("403 service-disabled", errors.ServiceDisabled, "has not been used in project.*Enable it"),
        ("403 scope", errors.InsufficientScopes, "insufficient authentication scopes.*connection's scopes"),
        ("404", errors.NotFound, "not found"),
    ],
)  # fmt: skip
def test_permanent_failures_have_the_services_words_and_what_to_do(emulator, client, fault, kind, words):
    emulator.inject("getPixels", fault)
    with pytest.raises(kind, match=f"(?s){words}"):
        pixels(client)
    assert emulator.calls.count("getPixels") == 1
    assert not emulator.pending


def test_an_unknown_asset_is_told_by_name(client):
    with pytest.raises(errors.NotFound, match="nowhere"):
        client.get_asset("projects/demo-project/assets/nowhere")
    with pytest.raises(errors.AssetNotFound, match="nowhere"):
        client.compute_bands(load_image("projects/demo-project/assets/nowhere"))


def test_images_of_an_interval_begin_in_it(client):
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 3, 6, tzinfo=UTC)
    images = client.list_images("MODIS/061/MOD13Q1", start=start, end=end, region=BOX)
    assert [image.index for image in images] == ["2023_01_01", "2023_01_17", "2023_02_02", "2023_02_18"]
    assert {band.id for band in images[0].bands} >= {"NDVI", "DayOfYear", "SummaryQA"}
    assert images[0].band("NDVI").grid.crs == "SR-ORG:6974"


def test_a_region_with_many_vertices_is_asked_for_by_its_box(emulator, client):
    import shapely

    circle = Region(shapely.Point(-55.55, -12.05).buffer(0.04, quad_segs=750))
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 15, tzinfo=UTC)
    images = client.list_images("MODIS/061/MOD13Q1", start=start, end=end, region=circle)
    assert [image.index for image in images] == ["2023_01_01"]
    (asked,) = re.findall(r'intersects\("(.*)"\)', str(emulator.requests[0].query["filter"]))
    assert len(asked) < 5_000
    box = Region.parse(asked.replace("'", '"')).geometry
    assert box.bounds == circle.geometry.bounds
    assert box.contains(circle.geometry)


def test_a_region_with_few_vertices_is_asked_for_as_it_is(emulator, client):
    triangle = Region.parse(
        {"type": "Polygon", "coordinates": [[[-55.6, -12.1], [-55.5, -12.1], [-55.5, -12], [-55.6, -12.1]]]}
    )
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 15, tzinfo=UTC)
    client.list_images("MODIS/061/MOD13Q1", start=start, end=end, region=triangle)
    (asked,) = re.findall(r'intersects\("(.*)"\)', str(emulator.requests[0].query["filter"]))
    assert Region.parse(asked.replace("'", '"')) == triangle


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "A B",
        "A?view=1",
        "A#",
        "%2e%2e",
        "projects/p",
        "projects/demo-project/operations/",
        "projects/demo-project/operations/A/B",
        "projects/demo-project/operations/..",
        "projects/demo-project/operations/A:cancel",
        "projects/demo-project/operations/A?x=1",
        "projects/demo-project/operations/A\n",
        "projects/../operations/A",
        "projects/demo-project/assets/operations/A",
        "projects/demo project/operations/A",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_before_a_request(emulator, client, name):
    with pytest.raises(ValueError, match="operation_name must be projects/"):
        client.get_operation(name)
    assert emulator.calls == []


@pytest.mark.parametrize("project", ["demo-project", "example.com:my-project", "123456789"])
def test_names_of_all_kinds_of_projects_are_taken(project):
    name = f"projects/{project}/operations/3DNU363IM57LNU4SDTMB6I33"
    assert wire.operation_name("another-project", name) == name


def test_a_band_that_is_not_there_is_refused_with_those_that_are(client):
    with pytest.raises(ValueError, match="has no band 'NVDI'; it has NDVI"):
        client.get_asset(IMAGE).band("NVDI")


def test_values_are_computed(client):
    graph = {"result": "0", "values": {"0": invoke("Number.add", left=constant(1), right=constant(2))}}
    assert client.compute_value(Expression.parse(graph)) == 3


def points(count):
    """A collection of points, each with its number."""
    features = [
        invoke(
            "Feature",
            geometry=invoke("GeometryConstructors.Point", coordinates=constant([-55.5 + number / 1000, -12])),
            metadata=constant({"number": number}),
        )
        for number in range(count)
    ]
    node = invoke("Collection", features={"arrayValue": {"values": features}})
    return Expression.parse({"result": "0", "values": {"0": node}})


def images(start, end):
    """MODIS composites whose number is between two."""
    names = ["2023_01_01", "2023_01_17", "2023_02_02", "2023_02_18", "2023_03_06"][start:end]
    nodes = [invoke("Image.load", id=constant(f"MODIS/061/MOD13Q1/{name}")) for name in names]
    node = invoke("ImageCollection.fromImages", images={"arrayValue": {"values": nodes}})
    return Expression.parse({"result": "0", "values": {"0": node}})


def numbers(features):
    return [feature["properties"]["number"] for feature in features]


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 8, 1000])
def test_features_come_in_order_whatever_the_size_of_pages(emulator, client, page_size):
    assert numbers(client.compute_features(points(7), page_size=page_size, workload_tag="tables")) == list(range(7))
    bodies = [item.body for item in emulator.requests if item.method == "table:computeFeatures"]
    assert len(bodies) == -(-7 // page_size)
    assert {(body["pageSize"], body["workloadTag"]) for body in bodies} == {(page_size, "tables")}
    assert "pageToken" not in bodies[0]


def test_features_are_geojson(client):
    (feature,) = client.compute_features(points(1))
    assert feature == {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [-55.5, -12]},
        "properties": {"number": 0, "system:index": "0"},
    }


def test_a_collection_without_features_has_none(emulator, client):
    assert list(client.compute_features(points(0))) == []
    assert emulator.calls == ["table:computeFeatures"]


@pytest.mark.parametrize("fault", ["429", "503", "truncate", "corrupt", "reset", "502 html"])
def test_a_page_that_is_struck_is_asked_for_again_and_no_feature_lost_or_doubled(emulator, client, fault):
    found = client.compute_features(points(6), page_size=2)
    first = next(found)
    emulator.inject("table:computeFeatures", fault, fault)
    assert numbers([first, *found]) == list(range(6))
    assert emulator.calls.count("table:computeFeatures") == 5
    assert not emulator.pending


def test_a_page_that_fails_for_good_ends_the_features_with_its_error(emulator, client):
    found = client.compute_features(points(6), page_size=2)
    assert numbers([next(found), next(found)]) == [0, 1]
    emulator.inject("table:computeFeatures", "400 memory")
    with pytest.raises(errors.MemoryLimitExceeded):
        next(found)
    assert emulator.calls.count("table:computeFeatures") == 2


@pytest.mark.parametrize("page_size", [0, -1])
def test_a_page_without_features_is_refused_before_a_request(emulator, client, page_size):
    with pytest.raises(ValueError, match=f"page_size must be at least 1, got {page_size}"):
        client.compute_features(points(1), page_size=page_size)
    assert emulator.calls == []


def test_images_of_an_expression_come_in_order_page_by_page(emulator, client):
    found = list(client.compute_images(images(0, 5), page_size=2))
    names = [image["name"].rsplit("/", 1)[-1] for image in found]
    assert names == ["2023_01_01", "2023_01_17", "2023_02_02", "2023_02_18", "2023_03_06"]
    assert found[0]["startTime"].startswith("2023-01-01")
    assert "NDVI" in {band["id"] for band in found[0]["bands"]}
    assert emulator.calls == ["imageCollection:computeImages"] * 3


class ScriptedTransport:
    """Answers with what it was told to, and remembers the bodies it was sent."""

    def __init__(self, answers):
        self.answers, self.bodies = answers, []

    def send(self, *_, body=None, **__):
        self.bodies.append(body)
        return Response(json.dumps(next(self.answers)).encode(), {})


def scripted(answers):
    transport = ScriptedTransport(iter(answers))
    return EarthEngineClient(ClientSettings(project="demo-project", retry=QUICK), transport=transport), transport


def feature(number):
    return {"type": "Feature", "geometry": None, "properties": {"number": number}}


@pytest.mark.parametrize("cycle", [["a"], ["a", "b", "c"]])
def test_a_page_token_that_repeats_forever_is_an_error(cycle):
    answers = ({"features": [feature(0)], "nextPageToken": token} for token in itertools.cycle(cycle))
    client, transport = scripted(answers)
    with pytest.raises(errors.MalformedResponse, match="pages never end: the token 'a' came a second time"):
        list(client.compute_features(points(1)))
    assert len(transport.bodies) == len(cycle) + 1


def test_short_and_empty_pages_are_no_end_while_a_token_follows():
    pages = [
        {"type": "FeatureCollection", "nextPageToken": "a"},
        {"features": [feature(0)], "nextPageToken": "b"},
        {"features": [], "nextPageToken": "c"},
        {"features": [feature(1), feature(2)]},
    ]
    client, transport = scripted(pages)
    assert numbers(client.compute_features(points(1))) == [0, 1, 2]
    assert [body.get("pageToken") for body in transport.bodies] == [None, "a", "b", "c"]


@pytest.mark.parametrize("features", ["x", {"a": 1}, [1]])
def test_a_page_whose_features_are_no_features_is_told(features):
    client, _ = scripted([{"features": features}])
    with pytest.raises(errors.MalformedResponse, match="Expected a list of features"):
        list(client.compute_features(points(1)))


def test_an_expression_that_gives_no_image_is_refused(client):
    graph = {"result": "0", "values": {"0": invoke("Number.add", left=constant(1), right=constant(2))}}
    with pytest.raises(ValueError, match="expression must give an image"):
        client.compute_bands(Expression.parse(graph))


def test_a_body_over_the_services_limit_is_not_sent(emulator, client):
    graph = {"result": "0", "values": {"0": constant("x" * 10_485_761)}}
    with pytest.raises(errors.RequestTooLarge, match="10485760"):
        client.compute_value(Expression.parse(graph))
    assert emulator.calls == []


def test_requests_are_paced(emulator):
    import time

    with connected(emulator.url, requests_per_second=20) as client:
        started = time.monotonic()
        for _ in range(21):
            client.get_asset(IMAGE)
    assert time.monotonic() - started >= 1.0


def test_a_client_that_was_told_to_stop_sends_nothing_more_and_waits_no_longer(emulator, client):
    emulator.inject("assets.get", "429 retry-after=60")
    threading.Timer(0.3, client.stop).start()
    with pytest.raises(errors.Stopped):
        client.get_asset(IMAGE)
    calls = len(emulator.calls)
    with pytest.raises(errors.Stopped):
        client.get_asset(IMAGE)
    assert len(emulator.calls) == calls == 1


class FakeCredentials(Credentials):
    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def refresh(self, request):
        if self.error:
            raise self.error
        self.token = "SECRET-TOKEN"

    @property
    def valid(self):
        return self.token is not None


@pytest.fixture
def recorder():
    """A server that remembers what it was sent and answers with a redirect or a small asset."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        redirect = None

        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            self.send_response(302 if Handler.redirect else 200)
            if Handler.redirect:
                self.send_header("Location", Handler.redirect)
            body = json.dumps({"name": "projects/p/assets/x"}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing on standard error."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen, Handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_token_never_travels_over_plain_http(recorder, trusted):
    url, seen, _ = recorder
    with connected(url, FakeCredentials(), trusted_endpoint=trusted) as client:
        client.get_asset("x")
    assert len(seen) == 1
    assert "Authorization" not in seen[0][1]
    assert "SECRET" not in json.dumps(seen)


def test_a_redirect_is_not_followed(recorder):
    url, seen, handler = recorder
    handler.redirect = f"{url}/elsewhere"
    with connected(url, FakeCredentials()) as client, pytest.raises(errors.EarthEngineError, match="302"):
        client.get_asset("x")
    assert [path for path, _ in seen] == ["/v1/projects/earthengine-public/assets/x"]


def test_credentials_that_cannot_be_refreshed_are_told_without_a_request():
    client = EarthEngineClient(
        ClientSettings(project="demo-project", retry=QUICK), FakeCredentials(RefreshError("invalid_grant: revoked"))
    )
    with client, pytest.raises(errors.Unauthenticated, match="invalid_grant: revoked"):
        client.get_asset(IMAGE)


def test_nobody_at_the_endpoint_is_a_passing_failure_that_names_it():
    with connected("http://127.0.0.1:9") as client, pytest.raises(errors.ConnectionFailed, match="127.0.0.1:9"):
        client.get_asset(IMAGE)
