"""Requests about assets are those of Google's own client: the same paths, queries and bodies."""

import contextlib

import ee
import pytest

from airflow_ee.core.access import AccessChange
from airflow_ee.core.assets import copy_asset, create_container, delete_asset, move_asset
from airflow_ee.core.batch import ImportImageRequest, ImportTableRequest
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import EarthEngineError
from airflow_ee.core.ingestion import ImageManifest, TableManifest
from airflow_ee.core.settings import ClientSettings
from airflow_ee.core.wire_assets import external_image_body, patch_body
from airflow_ee.core.wire_ingestion import message_to_rest
from airflow_ee.emulator import Emulator

HOME = "projects/demo-project/assets"
IMAGE = {"name": f"{HOME}/i", "tilesets": [{"sources": [{"uris": ["gs://maps/i.tif"]}]}], "bands": [{"id": "b"}]}
TABLE = {"name": f"{HOME}/t", "sources": [{"uris": ["gs://maps/t.csv"], "csvDelimiter": ";"}]}
OWNERS = [{"role": "roles/owner", "members": ["user:me@example.com"]}]


@pytest.fixture(scope="module")
def server():
    with Emulator() as running:
        ee.Reset()
        ee.Initialize(credentials=None, project="demo-project", url=running.url)
        # A refused request is all that is looked at here.
        ee.data.setMaxRetries(0)
        yield running
        ee.Reset()


@pytest.fixture
def client(server):
    settings = ClientSettings(project="demo-project", endpoint=server.url, high_volume_endpoint=server.url)
    with EarthEngineClient(settings) as made:
        yield made


def without_defaults(value):
    """A body without what it would mean anyway: false, and the state of a policy, which Google's client does not hold."""
    if isinstance(value, dict):
        return {
            name: without_defaults(each)
            for name, each in value.items()
            if each is not False and name not in ("etag", "version")
        }
    return value


def sent(server, method, act):
    """The last request of a method that ``act`` makes, however it was answered."""
    before = len(server.requests)
    with contextlib.suppress(ee.EEException, EarthEngineError):
        act()
    (*_, last) = [each for each in server.requests[before:] if each.method == method]
    query = {name: value for name, value in last.query.items() if name not in ("alt", "prettyPrint")}
    return last.http, last.path, query, without_defaults(last.body)


@pytest.mark.parametrize(
    ("method", "ours", "theirs"),
    [
        (
            "assets.create",
            lambda client: create_container(client, f"{HOME}/a", "FOLDER", properties={"n": 1}),
            lambda: ee.data.createAsset({"type": "FOLDER"}, f"{HOME}/a", {"n": 1}),
        ),
        (
            "assets.create",
            lambda client: create_container(client, "users/me/a", "IMAGE_COLLECTION"),
            lambda: ee.data.createAsset({"type": "IMAGE_COLLECTION"}, "users/me/a"),
        ),
        (
            "assets.create",
            lambda client: client.assets.create(f"{HOME}/c", external_image_body("gs://maps/c.tif")),
            lambda: ee.data.createAsset(
                {"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://maps/c.tif"]}}, f"{HOME}/c"
            ),
        ),
        (
            "assets.copy",
            lambda client: copy_asset(client, "MODIS/061/MOD13Q1/2023_06_10", f"{HOME}/x", overwrite=True),
            lambda: ee.data.copyAsset("MODIS/061/MOD13Q1/2023_06_10", f"{HOME}/x", True),
        ),
        (
            "assets.copy",
            lambda client: copy_asset(client, f"{HOME}/x", "users/me/y"),
            lambda: ee.data.copyAsset(f"{HOME}/x", "users/me/y"),
        ),
        (
            "assets.move",
            lambda client: move_asset(client, f"{HOME}/x", f"{HOME}/y"),
            lambda: ee.data.renameAsset(f"{HOME}/x", f"{HOME}/y"),
        ),
        (
            "assets.delete",
            lambda client: [create_container(client, f"{HOME}/d", "FOLDER"), delete_asset(client, f"{HOME}/d")],
            lambda: ee.data.deleteAsset(f"{HOME}/d"),
        ),
        (
            "assets.patch",
            lambda client: client.assets.patch(f"{HOME}/p", patch_body({"a": 1, "b": "x"})),
            lambda: ee.data.setAssetProperties(f"{HOME}/p", {"a": 1, "b": "x"}),
        ),
        (
            "assets.getIamPolicy",
            lambda client: client.assets.get_iam_policy(f"{HOME}/p"),
            lambda: ee.data.getIamPolicy(f"{HOME}/p"),
        ),
    ],
)
def test_a_request_is_that_of_googles_client(server, client, method, ours, theirs):
    assert sent(server, method, lambda: ours(client)) == sent(server, method, theirs)


def test_a_policy_is_written_as_googles_client_writes_it(server, client):
    create_container(client, f"{HOME}/policies", "FOLDER")
    change = AccessChange(members={"roles/owner": ("user:me@example.com",)})
    ours = sent(
        server, "assets.setIamPolicy", lambda: client.assets.update_iam_policy(f"{HOME}/policies", change.apply)
    )
    theirs = sent(
        server,
        "assets.setIamPolicy",
        lambda: ee.data.setIamPolicy(f"{HOME}/policies", {"bindings": OWNERS}),
    )
    assert ours == theirs


def test_lists_are_asked_for_at_the_same_places(server, client):
    create_container(client, f"{HOME}/lists", "FOLDER")
    for parent in (f"{HOME}/lists", HOME):
        ours = sent(server, "assets.listAssets", lambda parent=parent: list(client.assets.list(parent)))
        theirs = sent(server, "assets.listAssets", lambda parent=parent: ee.data.listAssets({"parent": parent}))
        assert ours[:2] == theirs[:2]


@pytest.mark.parametrize(
    ("method", "body", "start"),
    [
        (
            "image:import",
            # Google's client takes a request id for images, and does not send it; the reference has it.
            ImportImageRequest(manifest=ImageManifest.parse(IMAGE), description="ours", overwrite=True).body(None),
            lambda: ee.data.startIngestion("r-1", IMAGE, True),
        ),
        (
            "table:import",
            ImportTableRequest(manifest=TableManifest.parse(TABLE), description="ours").body("r-1"),
            lambda: ee.data.startTableIngestion("r-1", TABLE),
        ),
    ],
)
def test_bodies_of_imports_are_those_of_googles_client(server, method, body, start):
    # Its client has no description for imports; the reference has one, and it is what tells operations in a list.
    assert body.pop("description") == "ours"
    assert sent(server, method, start)[3] == body


def test_manifests_that_googles_client_takes_are_read(server):
    """Its older forms, ``id`` and ``primaryPath``, are its own: what it makes of them and sends is read."""
    old = {"id": "users/me/i", "tilesets": [{"sources": [{"primaryPath": "gs://maps/i.tif"}]}]}
    _, _, _, body = sent(server, "image:import", lambda: ee.data.startIngestion("r-2", old))
    with pytest.raises(ValueError, match=r"sources\[0\] has no field"):
        ImageManifest.parse({"name": "users/me/i", "tilesets": old["tilesets"]})
    assert message_to_rest(ImageManifest.parse(body["imageManifest"])) == body["imageManifest"]
