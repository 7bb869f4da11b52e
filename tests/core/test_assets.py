"""Assets made, copied, moved and removed against the emulator, with answers lost and refused on the way."""

import itertools
from datetime import UTC, datetime

import pytest

from airflow_ee.core import errors
from airflow_ee.core.assets import asset_exists, copy_asset, create_container, delete_asset, find_asset, move_asset
from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.settings import ClientSettings, RetryPolicy
from airflow_ee.core.wire_assets import external_image_body, own_asset_name, patch_body
from airflow_ee.emulator import Emulator

HOME = "projects/demo-project/assets"
PUBLIC = "MODIS/061/MOD13Q1"
PASSING = ["lose-response", "503", "429", "429 quota", "drop", "corrupt"]
DENIED = "403 permission=earthengine.assets.{}"
GRID = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=4, height=4)


def connected(url):
    quick = RetryPolicy(attempts=4, initial_seconds=0.01, maximum_seconds=0.02)
    settings = ClientSettings(
        project="demo-project", endpoint=url, high_volume_endpoint=url, retry=quick, request_timeout_seconds=20
    )
    return EarthEngineClient(settings)


@pytest.fixture
def client(emulator):
    with connected(emulator.url) as made:
        yield made


@pytest.fixture
def image(client):
    """Makes an image of one number."""
    numbers = itertools.count()

    def make(path, value=7):
        node = {"functionName": "Image.constant", "arguments": {"value": {"constantValue": value}}}
        request = ExportImageRequest(
            expression=Expression.parse({"result": "0", "values": {"0": {"functionInvocationValue": node}}}),
            description="image",
            grid=GRID,
            asset_export_options={"earthEngineDestination": {"name": f"{HOME}/{path}"}},
        )
        operation = client.start_operation(request, request_id=f"image-{next(numbers)}")
        while not operation.done:
            operation = client.wait_operation(operation.name, timeout_seconds=5)
        assert operation.state == "SUCCEEDED", operation
        return f"{HOME}/{path}"

    return make


def inside(client, path=""):
    return [each.name.removeprefix(f"{HOME}/") for each in client.assets.list(f"{HOME}/{path}".rstrip("/"))]


class TestCreate:
    def test_a_collection_and_the_folders_around_it_are_made(self, emulator, client):
        asset, made = create_container(client, f"{HOME}/a/b/c", "IMAGE_COLLECTION", properties={"crop": "soy", "n": 2})
        assert (asset.type, dict(asset.properties)) == ("IMAGE_COLLECTION", {"crop": "soy", "n": 2})
        assert made == [f"{HOME}/a", f"{HOME}/a/b", f"{HOME}/a/b/c"]
        assert [client.get_asset(name).type for name in made] == ["FOLDER", "FOLDER", "IMAGE_COLLECTION"]
        again, nothing = create_container(client, f"{HOME}/a/b/c", "IMAGE_COLLECTION", properties={"crop": "other"})
        assert nothing == []
        assert again.properties["crop"] == "soy"
        assert emulator.calls.count("assets.create") == 3

    @pytest.mark.parametrize("fault", PASSING)
    def test_a_passing_fault_makes_it_once(self, emulator, client, fault):
        emulator.inject("assets.create", fault, fault)
        asset, made = create_container(client, f"{HOME}/a/b", "FOLDER")
        assert asset.type == "FOLDER"
        assert made == [f"{HOME}/a", f"{HOME}/a/b"]
        assert inside(client) == ["a"]
        assert not emulator.pending

    def test_what_an_earlier_call_of_the_same_try_made_is_not_taken_for_somebody_elses(self, emulator, client):
        emulator.inject("assets.create", "lose-response")
        _, made = create_container(client, f"{HOME}/a", "FOLDER", exist_ok=False)
        assert made == [f"{HOME}/a"]
        assert not emulator.pending
        with pytest.raises(errors.AlreadyExists, match="is there already, a FOLDER"):
            create_container(client, f"{HOME}/a", "FOLDER", exist_ok=False)

    def test_another_kind_is_no_substitute(self, client):
        create_container(client, f"{HOME}/a", "FOLDER")
        with pytest.raises(errors.AlreadyExists, match="is of type FOLDER, not IMAGE_COLLECTION"):
            create_container(client, f"{HOME}/a", "IMAGE_COLLECTION")

    def test_a_parent_that_holds_nothing_is_told_before_anything_is_made(self, emulator, client, image):
        image("one")
        with pytest.raises(errors.FailedPrecondition, match="one is a IMAGE, which holds no assets"):
            create_container(client, f"{HOME}/one/two/three", "FOLDER")
        assert "assets.create" not in emulator.calls

    def test_missing_folders_are_an_error_when_they_are_not_to_be_made(self, client):
        with pytest.raises(errors.InvalidArgument, match="parent .* does not exist"):
            create_container(client, f"{HOME}/a/b", "FOLDER", create_parents=False)
        assert inside(client) == []

    @pytest.mark.parametrize(
        ("asset_id", "asset_type", "properties", "words"),
        [
            (PUBLIC, "FOLDER", {}, "public catalogue"),
            (f"{HOME}/a", "IMAGE", {}, "asset_type must be one of FOLDER, IMAGE_COLLECTION, got 'IMAGE'"),
            (f"{HOME}/a b", "FOLDER", {}, "asset id must be a path"),
            (f"{HOME}/a:b", "FOLDER", {}, "letters, digits"),
            (f"{HOME}//b", "FOLDER", {}, "letters, digits"),
            ("projects/demo-project/assets/", "FOLDER", {}, "asset id must be projects"),
            ("users/me", "FOLDER", {}, "is a root"),
            (f"{HOME}/a", "FOLDER", {"done": True}, "'done' must be a text or a number, got True"),
            (f"{HOME}/a", "FOLDER", {"n": float("nan")}, "'n' must be a text or a number"),
            (f"{HOME}/a", "FOLDER", {"n": 2**60}, "'n' must be"),
            (f"{HOME}/a", "FOLDER", {"n": None}, "'n' must be"),
            (f"{HOME}/a", "FOLDER", {'a"b': 1}, "without quotes"),
            (f"{HOME}/a", "FOLDER", ["n"], "names and values, got list"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, emulator, client, asset_id, asset_type, properties, words):
        with pytest.raises(ValueError, match=words):
            create_container(client, asset_id, asset_type, properties=properties)
        assert emulator.calls == []

    def test_a_users_old_folder_is_made_too(self, client):
        asset, _ = create_container(client, "users/me/maps", "FOLDER")
        assert asset.name == "projects/earthengine-legacy/assets/users/me/maps"
        assert find_asset(client, "users/me/maps").type == "FOLDER"


class TestDeniedOrMissing:
    def test_a_service_that_denies_what_is_missing_is_worked_with_like_any_other(self):
        with Emulator(unknown_asset_status=403) as hiding, connected(hiding.url) as client:
            create_container(client, f"{HOME}/a/b", "FOLDER")
            hiding.inject("assets.move", "lose-response")
            move_asset(client, f"{HOME}/a", f"{HOME}/z")
            assert move_asset(client, f"{HOME}/a", f"{HOME}/z").name == f"{HOME}/z"
            assert delete_asset(client, f"{HOME}/a") == []
            assert len(delete_asset(client, f"{HOME}/z", recursive=True)) == 2
            assert inside(client) == []

    def test_a_denial_of_what_is_not_listed_means_that_it_is_missing(self, emulator, client):
        emulator.inject("assets.get", DENIED.format("get"))
        assert find_asset(client, f"{HOME}/none") is None
        emulator.inject("assets.get", DENIED.format("get"))
        assert find_asset(client, f"{HOME}/none/deeper") is None
        assert not emulator.pending

    def test_a_denial_of_what_is_listed_is_a_denial(self, emulator, client):
        create_container(client, f"{HOME}/a", "FOLDER")
        emulator.inject("assets.get", *[DENIED.format("get")] * 2)
        with pytest.raises(errors.PermissionDenied):
            find_asset(client, f"{HOME}/a")
        assert asset_exists(client, f"{HOME}/a")
        assert not emulator.pending

    def test_a_denial_that_nothing_explains_is_raised(self, emulator, client):
        emulator.inject("assets.get", DENIED.format("get"))
        emulator.inject("assets.listAssets", DENIED.format("list"))
        with pytest.raises(errors.PermissionDenied, match="assets.get"):
            find_asset(client, f"{HOME}/a")
        assert not emulator.pending

    def test_folders_around_it_that_are_denied_are_looked_for_too(self, emulator, client):
        emulator.inject("assets.get", DENIED.format("get"))
        emulator.inject("assets.listAssets", DENIED.format("list"))
        assert find_asset(client, f"{HOME}/none/deeper") is None
        assert emulator.calls == ["assets.get", "assets.listAssets", "assets.listAssets"]


class TestCopy:
    @pytest.mark.parametrize("fault", PASSING)
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_passing_fault_leaves_one_copy(self, emulator, client, image, fault, overwrite):
        source = image("one")
        emulator.inject("assets.copy", fault)
        copied = copy_asset(client, source, f"{HOME}/two", overwrite=overwrite)
        assert (copied.name, copied.type) == (f"{HOME}/two", "IMAGE")
        assert inside(client) == ["one", "two"]
        assert not emulator.pending

    def test_a_later_try_takes_an_equal_asset_for_its_copy(self, client, image):
        source = image("one")
        first = copy_asset(client, source, f"{HOME}/two")
        assert copy_asset(client, source, f"{HOME}/two").update_time == first.update_time

    def test_something_else_is_not_taken_for_the_copy_and_only_replaced_when_asked(self, client, image):
        source, other = image("one"), image("two")
        client.assets.patch(other, patch_body({"colour": "red"}))
        with pytest.raises(errors.AlreadyExists):
            copy_asset(client, source, other)
        assert client.get_asset(other).properties["colour"] == "red"
        assert "colour" not in copy_asset(client, source, other, overwrite=True).properties

    def test_folders_around_the_copy_are_made_when_asked(self, client, image):
        source = image("one")
        with pytest.raises(errors.InvalidArgument, match="does not exist"):
            copy_asset(client, source, f"{HOME}/a/b/two")
        assert copy_asset(client, source, f"{HOME}/a/b/two", create_parents=True).name == f"{HOME}/a/b/two"

    @pytest.mark.parametrize(
        ("source", "destination", "words"),
        [
            (f"{HOME}/a", f"{HOME}/a/", "destination must differ from source"),
            (f"{HOME}/a", PUBLIC, "destination: .* public catalogue"),
            ("", f"{HOME}/a", "asset id must be a path"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, emulator, client, source, destination, words):
        with pytest.raises(ValueError, match=words):
            copy_asset(client, source, destination)
        assert emulator.calls == []


class TestMove:
    @pytest.mark.parametrize("fault", PASSING)
    def test_a_passing_fault_moves_once(self, emulator, client, fault):
        create_container(client, f"{HOME}/a/b", "FOLDER")
        emulator.inject("assets.move", fault)
        assert move_asset(client, f"{HOME}/a", f"{HOME}/z").name == f"{HOME}/z"
        assert (inside(client), inside(client, "z")) == (["z"], ["z/b"])
        assert not emulator.pending

    def test_a_later_try_finds_it_done(self, client):
        create_container(client, f"{HOME}/a", "FOLDER")
        move_asset(client, f"{HOME}/a", f"{HOME}/x/z", create_parents=True)
        assert move_asset(client, f"{HOME}/a", f"{HOME}/x/z", create_parents=True).type == "FOLDER"

    def test_nothing_is_replaced(self, client):
        for name in "az":
            create_container(client, f"{HOME}/{name}", "FOLDER")
        with pytest.raises(errors.AlreadyExists):
            move_asset(client, f"{HOME}/a", f"{HOME}/z")
        assert inside(client) == ["a", "z"]

    def test_what_is_nowhere_is_told(self, client):
        with pytest.raises(errors.NotFound, match=f"neither {HOME}/a nor {HOME}/z"):
            move_asset(client, f"{HOME}/a", f"{HOME}/z")

    def test_a_denied_move_is_not_taken_for_done(self, emulator, client):
        for name in "az":
            create_container(client, f"{HOME}/{name}", "FOLDER")
        emulator.inject("assets.move", DENIED.format("delete"))
        with pytest.raises(errors.PermissionDenied):
            move_asset(client, f"{HOME}/a", f"{HOME}/z")

    @pytest.mark.parametrize(
        ("source", "destination", "words"),
        [
            (f"{HOME}/a", f"{HOME}/a/b", "cannot be moved into itself"),
            (f"{HOME}/a", f"{HOME}/a", "must differ"),
            (PUBLIC, f"{HOME}/a", "source: .* public catalogue"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, emulator, client, source, destination, words):
        with pytest.raises(ValueError, match=words):
            move_asset(client, source, destination)
        assert emulator.calls == []


class TestDelete:
    @pytest.fixture
    def shelf(self, client, image):
        create_container(client, f"{HOME}/box/all", "IMAGE_COLLECTION")
        create_container(client, f"{HOME}/box/deep/er", "FOLDER")
        for number in range(3):
            copy_asset(client, image("one") if number == 0 else f"{HOME}/one", f"{HOME}/box/all/i{number}")

    @pytest.mark.usefixtures("shelf")
    def test_all_that_is_inside_goes_first(self, emulator, client):
        gone = delete_asset(client, f"{HOME}/box", recursive=True)
        assert len(gone) == 7
        assert gone[-1] == f"{HOME}/box"
        assert inside(client) == ["one"]
        assert emulator.calls.count("assets.delete") == 7

    @pytest.mark.usefixtures("shelf")
    def test_it_goes_only_when_asked(self, client):
        with pytest.raises(errors.FailedPrecondition, match="not empty"):
            delete_asset(client, f"{HOME}/box")
        assert len(inside(client, "box/all")) == 3

    @pytest.mark.usefixtures("shelf")
    @pytest.mark.parametrize("fault", PASSING)
    def test_passing_faults_leave_nothing_behind(self, emulator, client, fault):
        emulator.inject("assets.delete", *[fault] * 3)
        delete_asset(client, f"{HOME}/box", recursive=True, missing_ok=False)
        assert inside(client) == ["one"]
        assert not emulator.pending

    @pytest.mark.usefixtures("shelf")
    def test_a_refusal_ends_it_and_another_try_goes_on(self, emulator, client):
        emulator.inject("assets.delete", DENIED.format("delete"))
        with pytest.raises(errors.PermissionDenied):
            delete_asset(client, f"{HOME}/box/all", recursive=True)
        assert asset_exists(client, f"{HOME}/box/all")
        delete_asset(client, f"{HOME}/box/all", recursive=True)
        assert not asset_exists(client, f"{HOME}/box/all")

    def test_a_missing_one_is_fine_or_an_error_as_asked(self, emulator, client):
        assert delete_asset(client, f"{HOME}/none") == []
        with pytest.raises(errors.NotFound, match="There is no asset"):
            delete_asset(client, f"{HOME}/none", missing_ok=False)
        assert "assets.delete" not in emulator.calls

    @pytest.mark.parametrize("asset_id", [PUBLIC, "projects/demo-project/assets", "users/me", "projects/demo-project"])
    def test_roots_and_what_is_others_are_refused_before_anything_is_sent(self, emulator, client, asset_id):
        with pytest.raises(ValueError, match="public catalogue|root|asset id must be"):
            delete_asset(client, asset_id, recursive=True)
        assert emulator.calls == []


class TestPatch:
    @pytest.mark.parametrize("fault", PASSING)
    def test_what_is_named_changes_and_all_else_stays(self, emulator, client, fault):
        properties = {"keep": 1, "drop": "x", "snake_case:odd": "a"}
        create_container(client, f"{HOME}/a", "FOLDER", properties=properties)
        emulator.inject("assets.patch", fault)
        asset = client.assets.patch(f"{HOME}/a", patch_body({"drop": None, "new": 2, "snake_case:odd": "b"}))
        assert dict(asset.properties) == {"keep": 1, "new": 2, "snake_case:odd": "b"}
        assert not emulator.pending

    def test_nothing_to_change_is_an_error_as_it_would_remove_everything(self):
        with pytest.raises(ValueError, match="nothing to change"):
            patch_body({})

    @pytest.mark.parametrize("name", ["start", "start_time"])
    def test_times_to_remove_are_times_that_are_not_given(self, name):
        with pytest.raises(ValueError, match="remove_times"):
            patch_body(start_time=datetime(2024, 1, 1, tzinfo=UTC), remove_times=[name])


def test_an_image_that_stays_in_its_bucket_has_its_own_body():
    body = external_image_body("gs://b/x.TIF", properties={"n": 1})
    assert body == {"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/x.TIF"]}, "properties": {"n": 1}}
    for wrong in (None, "s3://b/x.tif", "gs://b/x.csv", "gs://b", ["gs://b/x.tif"]):
        with pytest.raises(ValueError, match="source_uri must be"):
            external_image_body(wrong)


def test_permissions_are_those_of_the_caller(client):
    asked = ["earthengine.assets.get", "earthengine.assets.delete"]
    assert client.assets.test_iam_permissions(PUBLIC, asked) == ("earthengine.assets.get",)
    assert client.assets.test_iam_permissions(f"{HOME}/none", asked) == ()


def test_long_lists_come_page_by_page(emulator, client):
    for name in "abcde":
        create_container(client, f"{HOME}/{name}", "FOLDER")
    assert [each.index for each in client.assets.list(HOME, page_size=2)] == list("abcde")
    assert emulator.calls.count("assets.listAssets") == 3


def test_names_are_checked_for_what_they_are_for():
    assert own_asset_name("x", "users/me/y") == "projects/earthengine-legacy/assets/users/me/y"
    with pytest.raises(ValueError, match="x: 'projects/earthengine-legacy/assets/users/me' is a root"):
        own_asset_name("x", "projects/earthengine-legacy/assets/users/me")
