"""Assets over REST: made, listed, changed, copied, moved, removed, and their policies."""

import pytest

from .conftest import call, graph, message
from .test_exports import GRID, NDVI

HOME = "projects/demo-project/assets"


def made(rest, name, kind="FOLDER", **fields):
    answer = rest.post(f"projects/demo-project/assets?assetId={name}", {"type": kind, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def patched(rest, name, mask, **asset):
    url = f"{rest.url}/v1/{HOME}/{name}"
    return rest.session.patch(url, json={"asset": asset, "updateMask": mask}, timeout=5)


@pytest.fixture
def shelf(rest):
    """A folder with a collection with an image."""
    made(rest, "box")
    made(rest, "box/all", "IMAGE_COLLECTION")
    place = {"assetExportOptions": {"earthEngineDestination": {"name": f"{HOME}/box/all/one"}}}
    operation = rest.ended(rest.export(NDVI, grid=GRID, **place).json()["name"])
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    return rest


def names(answer):
    return [each["name"].removeprefix(f"{HOME}/") for each in answer.json().get("assets", [])]


def test_folders_list_what_is_in_them_in_brief(shelf):
    assert names(shelf.get(f"{HOME}/box:listAssets", filter="properties.x=1")) == ["box/all"]
    assert names(shelf.get("projects/demo-project:listAssets")) == ["box"]
    (image,) = shelf.get(f"{HOME}/box/all:listAssets").json()["assets"]
    assert image["bands"]
    (brief,) = shelf.get(f"{HOME}/box/all:listAssets", view="BASIC").json()["assets"]
    assert "bands" not in brief
    assert names(shelf.get(f"{HOME}/box/all:listAssets", filter="properties.none=1")) == []


def test_a_copy_is_the_same_image_under_another_name(shelf):
    body = {"destinationName": f"{HOME}/box/two"}
    copied = shelf.post(f"{HOME}/box/all/one:copy", body)
    assert copied.json()["name"] == f"{HOME}/box/two"
    one, two = (shelf.asset_pixels(f"{HOME}/box/{name}").content for name in ("all/one", "two"))
    assert one == two
    assert message(shelf.post(f"{HOME}/box/all/one:copy", body), 409)
    assert shelf.post(f"{HOME}/box/all/one:copy", {**body, "overwrite": True}).status_code == 200
    assert "cannot be copied" in message(shelf.post(f"{HOME}/box:copy", {"destinationName": f"{HOME}/bag"}))
    assert "denied" in message(shelf.post(f"{HOME}/none:copy", body), 404)
    assert "Invalid asset name" in message(shelf.post(f"{HOME}/box/all/one:copy", {"destinationName": "../x"}))


def test_a_move_takes_all_that_is_inside(shelf):
    moved = shelf.post(f"{HOME}/box:move", {"destinationName": f"{HOME}/bag"})
    assert moved.json()["name"] == f"{HOME}/bag"
    assert shelf.get(f"{HOME}/box").status_code == 404
    assert shelf.get(f"{HOME}/bag/all/one").json()["type"] == "IMAGE"
    assert "into itself" in message(shelf.post(f"{HOME}/bag:move", {"destinationName": f"{HOME}/bag/inner"}))
    size = shelf.value(graph(call("Collection.size", collection=call("ImageCollection.load", id=f"{HOME}/bag/all"))))
    assert size == 1


def test_only_empty_folders_are_deleted(shelf):
    delete = shelf.session.delete
    assert "not empty" in message(delete(f"{shelf.url}/v1/{HOME}/box", timeout=5))
    for name in ("box/all/one", "box/all", "box"):
        assert delete(f"{shelf.url}/v1/{HOME}/{name}", timeout=5).json() == {}
    assert names(shelf.get("projects/demo-project:listAssets")) == []


def test_patches_change_what_the_mask_names(rest):
    made(rest, "box", properties={"keep": 1, "drop": "x"})
    one = patched(rest, "box", {"paths": ['properties."drop"', "properties.new"]}, properties={"drop": None, "new": 2})
    assert one.json()["properties"] == {"keep": 1, "new": 2}
    times = patched(rest, "box", "startTime,endTime", startTime="2020-01-01T00:00:00Z", properties={"ignored": 1})
    assert times.json()["startTime"] == "2020-01-01T00:00:00Z"
    assert times.json()["properties"] == {"keep": 1, "new": 2}
    assert "startTime" not in patched(rest, "box", "start_time").json()
    assert patched(rest, "box", "properties", properties={"all": "new"}).json()["properties"] == {"all": "new"}
    assert "properties" not in patched(rest, "box", "").json()
    assert "cannot be updated" in message(patched(rest, "box", "bands"))
    assert "string or a number" in message(patched(rest, "box", "properties", properties={"a": [1]}))
    assert "denied" in message(patched(rest, "none", "properties"), 404)


def test_patched_properties_of_images_are_those_of_expressions(shelf):
    assert patched(shelf, "box/all/one", "properties.colour", properties={"colour": "red"}).status_code == 200
    image = call("Image.load", id=f"{HOME}/box/all/one")
    assert shelf.value(graph(call("Element.get", object=image, property="colour"))) == "red"
    assert names(shelf.get(f"{HOME}/box/all:listAssets", filter="properties.colour=red")) == ["box/all/one"]


def test_policies_are_kept_shown_and_moved_with_their_asset(shelf):
    name = f"{HOME}/box/all/one"
    assert "bindings" not in shelf.post(f"{name}:getIamPolicy").json()
    bindings = [{"role": "roles/viewer", "members": ["allUsers", "user:a@example.com"]}]
    kept = shelf.post(f"{name}:setIamPolicy", {"policy": {"bindings": bindings}}).json()
    assert shelf.post(f"{name}:getIamPolicy").json() == kept
    stale = {"policy": {"bindings": [], "etag": "stale"}}
    assert shelf.post(f"{name}:setIamPolicy", stale).json()["error"]["status"] == "ABORTED"
    for wrong in (
        [{"role": "boss"}],
        [{"role": "roles/x", "members": ["me"]}],
        ["x"],
        [{"role": "roles/x", "members": 3}],
    ):
        assert shelf.post(f"{name}:setIamPolicy", {"policy": {"bindings": wrong}}).status_code == 400
    shelf.post(f"{name}:move", {"destinationName": f"{HOME}/box/moved"})
    assert shelf.post(f"{HOME}/box/moved:getIamPolicy").json()["bindings"] == bindings
    assert shelf.post(f"{name}:getIamPolicy").status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"role": "roles/viewer", "members": ["allUsers"]}],
        [{"role": "roles/owner", "members": ["user:b@example.com"]}],
    ],
)
def test_nobody_can_lock_the_owners_of_an_asset_out(shelf, given):
    name, mine = f"{HOME}/box/all/one", "user:a@example.com"
    shelf.post(f"{name}:setIamPolicy", {"policy": {"bindings": [{"role": "roles/owner", "members": [mine]}]}})
    answered = shelf.post(f"{name}:setIamPolicy", {"policy": {"bindings": given}}).json()
    assert shelf.post(f"{name}:getIamPolicy").json() == answered
    members = {each["role"]: each["members"] for each in answered["bindings"]}
    new_owners = [member for each in given if each["role"] == "roles/owner" for member in each["members"]]
    assert members.pop("roles/owner") == [mine, *new_owners]
    assert members == {each["role"]: each["members"] for each in given if each["role"] != "roles/owner"}
    asked = {"permissions": ["earthengine.assets.setIamPolicy"]}
    assert shelf.post(f"{name}:testIamPermissions", asked).json() == asked


def test_permissions_that_one_has(rest):
    asked = {"permissions": ["earthengine.assets.get", "earthengine.assets.delete"]}
    public = "projects/earthengine-public/assets/MODIS/061/MOD13Q1"
    assert rest.post(f"{public}:testIamPermissions", asked).json() == {"permissions": ["earthengine.assets.get"]}
    assert rest.post(f"{HOME}/none:testIamPermissions", asked).json() == {}
    made(rest, "box")
    assert rest.post(f"{HOME}/box:testIamPermissions", asked).json() == asked
    assert "wildcards" in message(rest.post(f"{HOME}/box:testIamPermissions", {"permissions": ["earthengine.*"]}))


def test_the_public_catalogue_belongs_to_somebody_else(rest):
    public = "projects/earthengine-public/assets/MODIS/061/MOD13Q1"
    assert "denied" in message(rest.session.delete(f"{rest.url}/v1/{public}", timeout=5), 403)
    assert "denied" in message(rest.post(f"{public}:setIamPolicy", {"policy": {}}), 403)
    assert "denied" in message(rest.post("projects/earthengine-public/assets?assetId=x", {"type": "FOLDER"}), 403)
    assert rest.post(f"{public}:getIamPolicy").json()["bindings"][0]["members"] == ["allUsers"]
    assert rest.get("projects/earthengine-public/assets/MODIS/061").json()["type"] == "FOLDER"
    listed = rest.get("projects/earthengine-public/assets/MODIS/061:listAssets").json()["assets"]
    assert {"type": "IMAGE_COLLECTION", "name": public, "id": "MODIS/061/MOD13Q1"} in listed


def test_a_project_s_root_shows_its_quota(shelf):
    quota = shelf.get(f"{HOME}/").json()["quota"]
    assert quota["assetCount"] == "3"
    assert int(quota["sizeBytes"]) > 1000
    assert quota["maxAssets"] == "10000"


def test_the_number_of_exports_at_once_can_be_lowered(rest):
    config = rest.get("projects/demo-project/config").json()
    assert config["maxConcurrentExports"] == 2
    url = f"{rest.url}/v1/projects/demo-project/config"
    lower = {"maxConcurrentExports": 1}
    changed = rest.session.patch(url, params={"updateMask": "max_concurrent_exports"}, json=lower, timeout=5)
    assert changed.json()["maxConcurrentExports"] == 1
    assert rest.get("projects/demo-project/config").json() == changed.json()
    assert "not supported" in message(rest.session.patch(url, json=lower, timeout=5))
    more = rest.session.patch(
        url, params={"updateMask": "max_concurrent_exports"}, json={"maxConcurrentExports": 9}, timeout=5
    )
    assert "between 1 and 2" in message(more)
