"""Earth Engine's REST methods that make, change, list and remove assets: one Python method each, as ``client.assets``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from airflow_ee.core import wire, wire_assets
from airflow_ee.core.access import AccessPolicy
from airflow_ee.core.errors import FailedPrecondition
from airflow_ee.core.resources import Asset

__all__ = ["AssetMethods"]

PAGE_SIZE = 1000


class _Call(Protocol):
    def __call__(
        self,
        method: str,
        verb: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]: ...


class _Repeat(Protocol):
    def __call__(self, method: str, function: Callable[[], tuple[AccessPolicy, bool]]) -> tuple[AccessPolicy, bool]: ...


class AssetMethods:
    """The methods below ``projects.assets``; errors and retries are those of the client that has made this.

    An answer may be lost after the service has done its work, and a repetition then finds it done: what that means for
    each method is known to :mod:`airflow_ee.core.assets`.
    """

    def __init__(self, call: _Call, pages: Callable[..., Iterator[dict[str, Any]]], repeat: _Repeat) -> None:
        self._call, self._pages, self._repeat = call, pages, repeat

    def describe(self, asset_id: str) -> dict[str, Any]:
        """``projects.assets.get``, as it came."""
        return self._call("assets.get", "GET", wire.asset_name(asset_id))

    def create(self, asset_id: str, body: Mapping[str, Any], *, overwrite: bool = False) -> Asset:
        """``projects.assets.create``: a folder, an image collection, or an image whose pixels stay in Cloud Storage.

        Parameters
        ----------
        body
            Of :func:`~airflow_ee.core.wire_assets.container_body` or
            :func:`~airflow_ee.core.wire_assets.external_image_body`.
        """
        parent, path = wire_assets.parent_and_path(asset_id)
        query = {"assetId": path, **({"overwrite": "true"} if overwrite else {})}
        answer = self._call("assets.create", "POST", f"{parent}/assets", body=body, query=query)
        return wire.asset_from_rest(answer)

    def copy(self, source: str, destination: str, *, overwrite: bool = False) -> Asset:
        """``projects.assets.copy``."""
        body = wire_assets.copy_body(destination, overwrite=overwrite)
        return wire.asset_from_rest(self._call("assets.copy", "POST", f"{wire.asset_name(source)}:copy", body=body))

    def move(self, source: str, destination: str) -> Asset:
        """``projects.assets.move``: with all that is inside; it replaces nothing."""
        body = wire_assets.move_body(destination)
        return wire.asset_from_rest(self._call("assets.move", "POST", f"{wire.asset_name(source)}:move", body=body))

    def delete(self, asset_id: str) -> None:
        """``projects.assets.delete``: an asset, or a folder or collection with nothing in it."""
        self._call("assets.delete", "DELETE", wire.asset_name(asset_id))

    def patch(self, asset_id: str, body: Mapping[str, Any]) -> Asset:
        """``projects.assets.patch``.

        Parameters
        ----------
        body
            Of :func:`~airflow_ee.core.wire_assets.patch_body`.
        """
        return wire.asset_from_rest(self._call("assets.patch", "PATCH", wire.asset_name(asset_id), body=body))

    def list(self, parent: str, *, page_size: int = PAGE_SIZE) -> Iterator[Asset]:
        """``projects.assets.listAssets``: what is directly inside, in brief, page by page."""
        query = {"pageSize": page_size, "view": "BASIC"}
        for page in self._pages("assets.listAssets", wire_assets.list_path(parent), query):
            for value in page.get("assets") or ():
                yield wire.asset_from_rest(value)

    def get_iam_policy(self, asset_id: str) -> AccessPolicy:
        """``projects.assets.getIamPolicy``."""
        return self._policy(asset_id, repeatable=True)

    def update_iam_policy(
        self, asset_id: str, change: Callable[[AccessPolicy], AccessPolicy]
    ) -> tuple[AccessPolicy, bool]:
        """``projects.assets.setIamPolicy``, as one step with reading: what others change meanwhile is not undone.

        Reading, changing and writing are repeated together, when somebody else was faster and when an answer was lost: the
        next look then finds the change in place.

        Parameters
        ----------
        change
            Makes the new policy of the present one; may be called several times.

        Returns
        -------
        The policy, and whether this call has written it, or may have where an answer was lost.

        Raises
        ------
        FailedPrecondition
            When ``change`` names another state (``etag``) than the present one.
        """
        sent = False

        def attempt() -> tuple[AccessPolicy, bool]:
            nonlocal sent
            present = self._policy(asset_id, repeatable=False)
            wanted = change(present)
            if wanted.grants == present.grants:
                return present, sent
            if wanted.etag and present.etag and wanted.etag != present.etag:
                raise FailedPrecondition(
                    f"The policy of {asset_id} has changed since {wanted.etag}: it is {present.etag} now. Read it again."
                )
            sent = True
            return self._set_policy(asset_id, wanted, present), True

        return self._repeat("assets.setIamPolicy", attempt)

    def test_iam_permissions(self, asset_id: str, permissions: Sequence[str]) -> tuple[str, ...]:
        """``projects.assets.testIamPermissions``: those of the permissions that the caller has."""
        path = f"{wire.asset_name(asset_id)}:testIamPermissions"
        answer = self._call("assets.testIamPermissions", "POST", path, body={"permissions": list(permissions)})
        return tuple(answer.get("permissions") or ())

    def _policy(self, asset_id: str, *, repeatable: bool) -> AccessPolicy:
        path = f"{wire.asset_name(asset_id)}:getIamPolicy"
        answer = self._call("assets.getIamPolicy", "POST", path, body={}, repeatable=repeatable)
        return wire_assets.policy_from_rest(answer)

    def _set_policy(self, asset_id: str, wanted: AccessPolicy, present: AccessPolicy) -> AccessPolicy:
        body = {"policy": wire_assets.policy_to_rest(wanted, etag=present.etag)}
        path = f"{wire.asset_name(asset_id)}:setIamPolicy"
        answer = self._call("assets.setIamPolicy", "POST", path, body=body, repeatable=False)
        return wire_assets.policy_from_rest(answer)
