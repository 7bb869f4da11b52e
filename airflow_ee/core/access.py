"""Who may do what with an asset: its IAM policy as a value, and how it is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["EVERYBODY", "MODES", "ROLES", "AccessChange", "AccessPolicy", "read_member"]

OWNER, WRITER, READER = "roles/owner", "roles/editor", "roles/viewer"
ROLES = {"owners": OWNER, "writers": WRITER, "readers": READER}
"""The three roles of an asset, by the words that users have for them."""
EVERYBODY = "allUsers"
MODES = ("replace", "add", "remove")

_KINDS = (
    "user",
    "group",
    "serviceAccount",
    "domain",
    "projectOwner",
    "projectEditor",
    "projectViewer",
    "principal",
    "principalSet",
)
_MEMBER = re.compile(rf"(?:{'|'.join(_KINDS)}):\S+|deleted:\S+|allUsers|allAuthenticatedUsers")
_ADDRESS = re.compile(r"[^\s:@]+@[^\s:@]+\.[^\s:@]+")
# Members behind which the caller may stand unseen.
_OPAQUE = ("group:", "projectOwner:", "principalSet:", "principal:")

Binding = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """An IAM policy.

    >>> policy = AccessPolicy(bindings=({"role": "roles/owner", "members": ["user:a@example.com"]},))
    >>> policy.with_members("roles/viewer", ["allUsers"]).members("roles/viewer")
    ('allUsers',)
    """

    bindings: tuple[Binding, ...] = ()
    """``{"role", "members", "condition"}`` each, as the REST reference has them."""
    etag: str = ""
    """Names the state that was read: who writes with it undoes nobody's change."""
    version: int | None = None

    @classmethod
    def parse(cls, value: Any) -> AccessPolicy:
        """Read a policy that a user wrote: ``{"bindings": [{"role", "members"}], "etag"}``, or the JSON text of it.

        Raises
        ------
        ValueError
            Naming what is wrong, and where.
        """
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as problem:
                raise ValueError(f"policy is not JSON: {problem}") from None
        if not isinstance(value, Mapping) or not isinstance(value.get("bindings"), Sequence):
            raise ValueError(f'policy must have "bindings", a list of roles and members, got {str(value)[:120]}')
        bindings = tuple(_binding(f"policy.bindings[{number}]", each) for number, each in enumerate(value["bindings"]))
        version = value.get("version")
        if version is not None and not isinstance(version, int):
            raise ValueError(f"policy.version must be a whole number, got {version!r}")
        return cls(bindings=bindings, etag=str(value.get("etag") or ""), version=version)

    @property
    def grants(self) -> frozenset[tuple[str, str, str]]:
        """Role, member and condition of every grant: equal where two policies mean the same."""
        return frozenset(
            (str(each["role"]), str(member), json.dumps(each.get("condition"), sort_keys=True))
            for each in self.bindings
            for member in each.get("members", ())
        )

    def members(self, role: str) -> tuple[str, ...]:
        """Who has a role without a condition."""
        plain = (each for each in self.bindings if each["role"] == role and not each.get("condition"))
        return tuple(dict.fromkeys(member for each in plain for member in each.get("members", ())))

    def with_members(self, role: str, members: Iterable[str]) -> AccessPolicy:
        """The same policy where these, and no others, have the role; roles under a condition stay."""
        others = tuple(each for each in self.bindings if each["role"] != role or each.get("condition"))
        named = list(dict.fromkeys(members))
        return replace(self, bindings=(*others, {"role": role, "members": named}) if named else others)

    def refuse_lockout(self, principal: str) -> None:
        """Refuse a policy under which the caller could not change it back.

        Parameters
        ----------
        principal
            The caller's address; without an ``@`` it is not known who that is, and any owner will do.

        Raises
        ------
        ValueError
            When there is no owner, or the caller is known and none of the owners can be them.
        """
        owners = self.members(OWNER)
        if not owners:
            raise ValueError(
                "owners: nobody would own the asset by this ACL, and nobody could change it back; name an owner, or say "
                "allow_lockout=True where the project's own roles give access"
            )
        if "@" in principal and not any(_may_be(owner, principal) for owner in owners):
            raise ValueError(
                f"owners: {principal}, which this task runs as, is not among {', '.join(owners)}, and would be locked out; "
                "add it, or say allow_lockout=True where the project's own roles give access"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessChange:
    """What a user wants of an ACL: the members of some roles set, added or taken away; other roles stay as they are.

    >>> change = AccessChange(members={"roles/viewer": ("user:a@example.com",)}, mode="add")
    >>> change.apply(AccessPolicy()).members("roles/viewer")
    ('user:a@example.com',)
    """

    members: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By role."""
    everybody_reads: bool | None = None
    """None: as it is."""
    mode: str = "replace"
    """``replace`` a role's members, ``add`` to them, or ``remove`` from them."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if not self.members and self.everybody_reads is None:
            raise ValueError("nothing to change: give owners, writers, readers, all_users_can_read or policy")

    def apply(self, policy: AccessPolicy) -> AccessPolicy:
        """The policy after the change."""
        for role, named in self.members.items():
            policy = policy.with_members(role, self._after(policy.members(role), named, role))
        if self.everybody_reads is None:
            return policy
        readers = [member for member in policy.members(READER) if member != EVERYBODY]
        return policy.with_members(READER, [*readers, EVERYBODY] if self.everybody_reads else readers)

    def apply_keeping_an_owner(self, policy: AccessPolicy) -> AccessPolicy:
        """The policy after the change.

        Raises
        ------
        ValueError
            When there were owners and none is left.
        """
        after = self.apply(policy)
        if policy.members(OWNER) and not after.members(OWNER):
            raise ValueError(f"owners: this would remove all there are, {', '.join(policy.members(OWNER))}")
        return after

    def refuse_lockout(self, principal: str) -> None:
        """Refuse a change that locks the caller out whatever the policy is; see :meth:`AccessPolicy.refuse_lockout`."""
        if OWNER not in self.members or self.mode == "add":
            return
        named = self.members[OWNER]
        if self.mode == "replace":
            AccessPolicy().with_members(OWNER, named).refuse_lockout(principal)
        elif "@" in principal and any(member.partition(":")[2] == principal for member in named):
            raise ValueError(
                f"owners: {principal}, which this task runs as, would take ownership away from itself; say allow_lockout=True "
                "where the project's own roles give access"
            )

    def _after(self, present: Sequence[str], named: Collection[str], role: str) -> list[str]:
        if self.mode == "add":
            return [*present, *named]
        if self.mode == "remove":
            return [member for member in present if member not in named]
        # Whether everybody reads is an argument of its own: a list of readers does not take it back.
        everybody = [EVERYBODY] if role == READER and EVERYBODY in present else []
        return [*named, *everybody]


def read_member(argument: str, member: Any) -> str:
    """A member as IAM writes it; a bare address is a user's, or a service account's where it looks so.

    >>> read_member("readers", "robot@my-project.iam.gserviceaccount.com")
    'serviceAccount:robot@my-project.iam.gserviceaccount.com'

    Raises
    ------
    ValueError
        When it is none.
    """
    text = str(member).strip()
    if _MEMBER.fullmatch(text):
        return text
    if _ADDRESS.fullmatch(text):
        return f"{'serviceAccount' if text.endswith('.gserviceaccount.com') else 'user'}:{text}"
    raise ValueError(
        f"{argument} must be addresses, or members such as user:a@example.com, group:g@example.com, domain:example.com, "
        f"got {member!r}"
    )


def _binding(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str) or "/" not in value["role"]:
        raise ValueError(f"{where} must have a role such as {READER}, got {str(value)[:120]}")
    members = value.get("members")
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise ValueError(f"{where}.members must be a list, got {members!r}")
    return {**value, "members": [read_member(f"{where}.members", member) for member in members]}


def _may_be(owner: str, principal: str) -> bool:
    kind, _, who = owner.partition(":")
    domain = kind == "domain" and principal.endswith(f"@{who}")
    return who.lower() == principal.lower() or domain or owner.startswith(_OPAQUE)
