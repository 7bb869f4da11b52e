"""Operators that read and set who may do what with an asset."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.operators.arguments import read_boolean, refuse_unless, text_or_none
from airflow_ee.operators.asset_base import EarthEngineAssetBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.access import AccessChange, AccessPolicy
    from airflow_ee.core.client import EarthEngineClient

__all__ = ["EarthEngineGetAssetAclOperator", "EarthEngineSetAssetAclOperator"]

Members = Sequence[str] | str | None


class EarthEngineGetAssetAclOperator(EarthEngineAssetBaseOperator):
    """
    Read who may do what with an asset.

    Returns ``{"asset", "owners", "writers", "readers", "all_users_can_read", "policy"}``; ``policy`` is the whole of it, as
    the REST reference has it, and :class:`EarthEngineSetAssetAclOperator` takes it.

    :param asset_id: Id of the asset.
    """

    template_fields: Sequence[str] = (*EarthEngineAssetBaseOperator.template_fields, "asset_id")

    def __init__(self, *, asset_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Read the ACL.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.wire import asset_name
        from airflow_ee.core.wire_assets import policy_to_rest

        name = asset_name(self.asset_id)
        policy = client.assets.get_iam_policy(name)
        self.show(context, client, name)
        return {"asset": name, **_acl(policy), "policy": policy_to_rest(policy)}


class EarthEngineSetAssetAclOperator(EarthEngineAssetBaseOperator):
    """
    Say who may do what with an asset.

    Reading and writing are one step: what others change meanwhile is not undone, and a policy that is already as wanted is
    not written. An ACL by which the task could not change it back is refused before anything is sent: one without an owner,
    and, where the connection's credentials tell who the caller is, one whose owners cannot be the caller. Returns
    ``{"asset", "changed", "owners", "writers", "readers", "all_users_can_read"}``.

    :param asset_id: Id of the asset.
    :param owners: Members: ``user:``, ``serviceAccount:``, ``group:`` or ``domain:`` and who, or a bare address. None: as
        they are; an empty list: nobody.
    :param writers: The same, for those who may change the asset.
    :param readers: The same, for those who may read it; ``all_users_can_read`` is apart from it.
    :param all_users_can_read: Whether everybody may read it; None: as it is.
    :param change: ``replace`` the members of the roles that are given, ``add`` to them, or ``remove`` from them.
    :param policy: Instead of all these: the whole policy, as the REST reference has it, or its JSON text. With ``etag``,
        it is refused when the policy has changed since that was read.
    :param allow_lockout: Whether an ACL is written though the task may not be able to change it back; for assets to which
        roles of their project give access.
    """

    template_fields: Sequence[str] = (
        *EarthEngineAssetBaseOperator.template_fields,
        "asset_id",
        "owners",
        "writers",
        "readers",
        "all_users_can_read",
        "change",
        "policy",
        "allow_lockout",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"policy": "json"}

    def __init__(
        self,
        *,
        asset_id: str,
        owners: Members = None,
        writers: Members = None,
        readers: Members = None,
        all_users_can_read: bool | str | None = None,
        change: str = "replace",
        policy: Mapping[str, Any] | str | None = None,
        allow_lockout: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asset_id = asset_id
        self.owners = owners
        self.writers = writers
        self.readers = readers
        self.all_users_can_read = all_users_can_read
        self.change = change
        self.policy = policy
        self.allow_lockout = allow_lockout

    def act(self, context: Context, client: EarthEngineClient) -> dict[str, Any]:
        """
        Change the ACL.

        :param context: Airflow's context.
        :param client: The client to do it with.
        """
        from airflow_ee.core.wire_assets import own_asset_name

        name = own_asset_name("asset_id", self.asset_id)
        policy, written = client.assets.update_iam_policy(name, self._wanted())
        self.log.info("%s: its ACL %s", name, "was changed" if written else "was as wanted")
        self.show(context, client, name)
        return {"asset": name, "changed": written, **_acl(policy)}

    def _wanted(self) -> Callable[[AccessPolicy], AccessPolicy]:
        """What makes the new policy of the present one; refused here where it locks the caller out."""
        from airflow_ee.core.access import AccessPolicy

        change = self._change()
        if read_boolean("allow_lockout", self.allow_lockout):
            return (lambda _: change) if isinstance(change, AccessPolicy) else change.apply
        change.refuse_lockout(self.hook.principal)
        return (lambda _: change) if isinstance(change, AccessPolicy) else change.apply_keeping_an_owner

    def _change(self) -> AccessChange | AccessPolicy:
        from airflow_ee.core.access import MODES, ROLES, AccessChange, AccessPolicy

        refuse_unless("change", self.change, MODES)
        members = {role: _read_members(argument, getattr(self, argument)) for argument, role in ROLES.items()}
        named = {role: found for role, found in members.items() if found is not None}
        everybody = text_or_none(self.all_users_can_read)
        policy = text_or_none(self.policy)
        if policy is None:
            reads = None if everybody is None else read_boolean("all_users_can_read", everybody)
            return AccessChange(members=named, everybody_reads=reads, mode=self.change)
        if named or everybody is not None:
            raise ValueError("policy is the whole ACL: give it alone, or owners, writers, readers, all_users_can_read")
        return AccessPolicy.parse(policy)


def _read_members(argument: str, value: Any) -> tuple[str, ...] | None:
    """Members from a list, JSON text or comma-separated text; None when nothing is given."""
    from airflow_ee.core.access import read_member

    if text_or_none(value) is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
        except json.JSONDecodeError as problem:
            raise ValueError(f"{argument} is not JSON: {problem}") from None
    return tuple(read_member(argument, member) for member in value)


def _acl(policy: AccessPolicy) -> dict[str, Any]:
    from airflow_ee.core.access import EVERYBODY, ROLES

    members = {name: [each for each in policy.members(role) if each != EVERYBODY] for name, role in ROLES.items()}
    return {**members, "all_users_can_read": EVERYBODY in policy.members(ROLES["readers"])}
