"""ACLs: changes that undo nobody else's, and that lock nobody out."""

import itertools

import pytest

from airflow_ee.core import errors
from airflow_ee.core.access import AccessChange, AccessPolicy, read_member
from airflow_ee.core.assets import create_container
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.settings import ClientSettings, RetryPolicy

NAME = "projects/demo-project/assets/box"
OWNER, WRITER, READER = "roles/owner", "roles/editor", "roles/viewer"
ME, YOU = "user:me@example.com", "user:you@example.com"
PASSING = ["lose-response", "503", "429", "drop", "corrupt"]


@pytest.fixture
def client(emulator):
    quick = RetryPolicy(attempts=4, initial_seconds=0.01, maximum_seconds=0.02)
    settings = ClientSettings(
        project="demo-project",
        endpoint=emulator.url,
        high_volume_endpoint=emulator.url,
        retry=quick,
        request_timeout_seconds=20,
    )
    with EarthEngineClient(settings) as made:
        create_container(made, NAME, "FOLDER")
        yield made


def policy(**members):
    roles = {"owners": OWNER, "writers": WRITER, "readers": READER}
    return AccessPolicy(bindings=tuple({"role": roles[name], "members": list(who)} for name, who in members.items()))


def change(**members):
    roles = {"owners": OWNER, "writers": WRITER, "readers": READER}
    more = {name: members.pop(name) for name in ("mode", "everybody_reads") if name in members}
    return AccessChange(members={roles[name]: tuple(who) for name, who in members.items()}, **more)


class TestUpdate:
    @pytest.mark.parametrize("method", ["assets.getIamPolicy", "assets.setIamPolicy"])
    @pytest.mark.parametrize("fault", PASSING)
    def test_a_passing_fault_leaves_the_wanted_policy(self, emulator, client, method, fault):
        emulator.inject(method, fault)
        after, written = client.assets.update_iam_policy(NAME, change(owners=[ME], readers=[YOU]).apply)
        assert written
        assert (after.members(OWNER), after.members(READER)) == ((ME,), (YOU,))
        assert client.assets.get_iam_policy(NAME) == after
        assert not emulator.pending

    def test_a_policy_that_is_as_wanted_is_not_written(self, emulator, client):
        _, first = client.assets.update_iam_policy(NAME, change(owners=[ME, YOU]).apply)
        _, second = client.assets.update_iam_policy(NAME, change(owners=[YOU, ME]).apply)
        assert (first, second) == (True, False)
        assert emulator.calls.count("assets.setIamPolicy") == 1

    def test_what_somebody_else_changes_meanwhile_is_kept(self, client):
        calls = itertools.count()

        def meanwhile(present):
            if next(calls) == 0:
                client.assets.update_iam_policy(NAME, change(writers=[YOU]).apply)
            return change(readers=[ME]).apply(present)

        after, written = client.assets.update_iam_policy(NAME, meanwhile)
        assert written
        assert next(calls) == 2
        assert (after.members(WRITER), after.members(READER)) == ((YOU,), (ME,))

    def test_a_policy_that_was_read_long_ago_is_refused(self, client):
        old = client.assets.get_iam_policy(NAME)
        client.assets.update_iam_policy(NAME, change(writers=[YOU]).apply)
        stale = AccessPolicy(bindings=({"role": OWNER, "members": [ME]},), etag=old.etag)
        with pytest.raises(errors.FailedPrecondition, match="has changed since"):
            client.assets.update_iam_policy(NAME, lambda _: stale)
        assert client.assets.get_iam_policy(NAME).members(WRITER) == (YOU,)

    def test_a_lost_answer_to_a_policy_that_was_read_is_no_conflict(self, emulator, client):
        read = client.assets.get_iam_policy(NAME)
        wanted = AccessPolicy(bindings=({"role": OWNER, "members": [ME]},), etag=read.etag)
        emulator.inject("assets.setIamPolicy", "lose-response")
        after, _ = client.assets.update_iam_policy(NAME, lambda _: wanted)
        assert after.members(OWNER) == (ME,)
        assert not emulator.pending


class TestChange:
    def test_the_three_ways(self):
        before = policy(owners=[ME], readers=[ME, "allUsers"])
        assert change(readers=[YOU]).apply(before).members(READER) == (YOU, "allUsers")
        assert change(readers=[YOU], mode="add").apply(before).members(READER) == (ME, "allUsers", YOU)
        assert change(readers=[ME], mode="remove").apply(before).members(READER) == ("allUsers",)
        assert change(everybody_reads=False).apply(before).members(READER) == (ME,)
        assert change(everybody_reads=True).apply(policy()).members(READER) == ("allUsers",)
        assert change(readers=[]).apply(policy(readers=[ME])).bindings == ()

    def test_other_roles_and_conditions_stay(self):
        others = (
            {"role": "roles/x", "members": [YOU]},
            {"role": READER, "members": [YOU], "condition": {"expression": "true"}},
        )
        after = change(readers=[ME]).apply(AccessPolicy(bindings=others))
        assert after.bindings == (*others, {"role": READER, "members": [ME]})

    def test_a_change_says_what_it_changes(self):
        with pytest.raises(ValueError, match="nothing to change"):
            AccessChange()
        with pytest.raises(ValueError, match="mode must be one of replace, add, remove, got 'set'"):
            change(readers=[ME], mode="set")


class TestLockout:
    @pytest.mark.parametrize(
        ("wanted", "principal", "words"),
        [
            (change(owners=[]), "anonymous", "nobody would own"),
            (change(owners=[YOU]), "me@example.com", "me@example.com, which this task runs as, is not among"),
            (change(owners=["domain:other.org"]), "me@example.com", "would be locked out"),
            (change(owners=[ME], mode="remove"), "me@example.com", "away from itself"),
            (policy(readers=[ME]), "Credentials", "nobody would own"),
            (policy(owners=[YOU]), "me@example.com", "is not among"),
        ],
    )
    def test_what_locks_out_is_refused(self, wanted, principal, words):
        with pytest.raises(ValueError, match=words):
            wanted.refuse_lockout(principal)

    @pytest.mark.parametrize(
        ("wanted", "principal"),
        [
            (change(owners=[YOU]), "anonymous"),
            (change(owners=[YOU, ME]), "Me@Example.com"),
            (change(owners=["domain:example.com"]), "me@example.com"),
            (change(owners=["group:all@example.com"]), "me@example.com"),
            (change(owners=[YOU], mode="add"), "me@example.com"),
            (change(owners=[YOU], mode="remove"), "me@example.com"),
            (change(readers=[]), "me@example.com"),
            (policy(owners=[ME]), "me@example.com"),
        ],
    )
    def test_what_does_not_is_not(self, wanted, principal):
        wanted.refuse_lockout(principal)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "member"),
        [
            ("a@example.com", "user:a@example.com"),
            (" r@p.iam.gserviceaccount.com ", "serviceAccount:r@p.iam.gserviceaccount.com"),
            ("group:g@example.com", "group:g@example.com"),
            ("allUsers", "allUsers"),
        ],
    )
    def test_members(self, text, member):
        assert read_member("readers", text) == member

    @pytest.mark.parametrize("text", ["", "someone", "team:x@example.com", "a b@example.com", None, "user:"])
    def test_no_members(self, text):
        with pytest.raises(ValueError, match="readers must be addresses"):
            read_member("readers", text)

    def test_a_policy_is_what_the_reference_says(self):
        text = '{"bindings": [{"role": "roles/owner", "members": ["a@example.com"]}], "etag": "x", "version": 1}'
        read = AccessPolicy.parse(text)
        assert (read.members(OWNER), read.etag, read.version) == (("user:a@example.com",), "x", 1)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("{", "policy is not JSON"),
            ({}, 'must have "bindings"'),
            ({"bindings": [{"role": "owner"}]}, r"policy.bindings\[0\] must have a role"),
            ({"bindings": [{"role": OWNER, "members": "me"}]}, r"policy.bindings\[0\].members must be a list"),
            ({"bindings": [{"role": OWNER, "members": ["me"]}]}, r"policy.bindings\[0\].members must be addresses"),
        ],
    )
    def test_what_is_wrong_is_named(self, value, words):
        with pytest.raises(ValueError, match=words):
            AccessPolicy.parse(value)
