"""Who may do what with an asset. Policies are kept and shown; nobody is kept out by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from airflow_ee.emulator.api.assets import get_asset
from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.catalog.assets import PUBLIC, asset_id
from airflow_ee.emulator.errors import EmulatorError, field_violation
from airflow_ee.emulator.session import Session

_READ = ("earthengine.assets.get", "earthengine.assets.list", "earthengine.assets.getIamPolicy")
_OWNER = "roles/owner"
_MEMBERS = (
    "user:",
    "group:",
    "serviceAccount:",
    "domain:",
    "projectOwner:",
    "projectEditor:",
    "projectViewer:",
    "deleted:",
)


def get_policy(call: Call, session: Session) -> Answer:
    """The policy of an asset; an empty one where nobody has set any, and all may read what is public."""
    return Answer(_shown(_policy(call, session)))


def set_policy(call: Call, session: Session) -> Answer:
    """Replace the policy, but for its owners, who stay; one that has been read before must not have changed since."""
    name = call.path["resource"]
    if name.startswith(PUBLIC.removesuffix("/")):
        message = (
            f"Permission 'earthengine.assets.setIamPolicy' denied on resource '{name[:300]}' (or it may not exist)."
        )
        raise EmulatorError("PERMISSION_DENIED", message)
    before = _policy(call, session)
    given = call.body.get("policy", {})
    if given.get("etag") and given["etag"] != _etag(before):
        message = (
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
        )
        raise EmulatorError("ABORTED", message)
    policy = {"bindings": _with_owners([_binding(each) for each in given.get("bindings", [])], before)}
    session.catalog.stored.set_policy(asset_id(name.rstrip("/")), policy)
    return Answer(_shown(policy))


def _with_owners(bindings: list[dict[str, Any]], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The owners that there were are merged into what is set, so that nobody can lock them out."""
    there = [member for each in before.get("bindings", ()) if each["role"] == _OWNER for member in each["members"]]
    named = [member for each in bindings if each["role"] == _OWNER for member in each["members"]]
    if set(there) <= set(named):
        return bindings
    others = [each for each in bindings if each["role"] != _OWNER]
    return [{"role": _OWNER, "members": list(dict.fromkeys([*there, *named]))}, *others]


def test_permissions(call: Call, session: Session) -> Answer:
    """Those of the permissions that the caller has: all on assets of one's own, reading on what is public."""
    asked = call.body.get("permissions", [])
    if any("*" in permission for permission in asked):
        raise field_violation("permissions", "Permissions with wildcards are not allowed.")
    try:
        _policy(call, session)
    except EmulatorError:
        return Answer({})
    public = call.path["resource"].startswith(PUBLIC.removesuffix("/"))
    held = [each for each in asked if each.startswith("earthengine.") and (not public or each in _READ)]
    return Answer({"permissions": held} if held else {})


def _policy(call: Call, session: Session) -> dict[str, Any]:
    """The stored policy of an asset that is there."""
    name = call.path["resource"]
    get_asset(Call(call.method, {"name": name}), session)
    if name.startswith(PUBLIC.removesuffix("/")):
        return {"bindings": [{"role": "roles/viewer", "members": ["allUsers"]}]}
    return session.catalog.stored.policy(asset_id(name.rstrip("/"))) or {}


def _binding(given: Any) -> dict[str, Any]:
    role = given.get("role") if isinstance(given, Mapping) else None
    members = given.get("members", []) if isinstance(given, Mapping) else None
    if not isinstance(role, str) or not role.startswith(("roles/", "projects/", "organizations/")):
        raise field_violation("policy.bindings", f"Role {json.dumps(role)[:200]} is not supported for this resource.")
    if not isinstance(members, list):
        raise field_violation("policy.bindings", "Invalid value at 'policy.bindings.members'.")
    for member in members:
        if not isinstance(member, str) or not (
            member in ("allUsers", "allAuthenticatedUsers") or member.startswith(_MEMBERS)
        ):
            raise field_violation("policy.bindings", f"The member {json.dumps(member)[:200]} is of an unknown type.")
    return {"role": role, "members": members}


def _shown(policy: Mapping[str, Any]) -> dict[str, Any]:
    bindings = {"bindings": policy["bindings"]} if policy.get("bindings") else {}
    return {"version": 1, "etag": _etag(policy), **bindings}


def _etag(policy: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(policy.get("bindings", []), sort_keys=True).encode()).hexdigest()[:12]
