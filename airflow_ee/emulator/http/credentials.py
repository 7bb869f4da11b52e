"""Access tokens and API keys, for servers that ask for them. Neither is ever logged or shown."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_ee.emulator.api.reference import Method
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.http.answers import Refusal

SERVICE = "earthengine.googleapis.com"
ALL_SCOPES: frozenset[str] = frozenset({"cloud-platform", "earthengine"})

_REALM = 'Bearer realm="https://accounts.google.com/"'
_PAGE = "https://developers.google.com/identity/sign-in/web/devconsole-project"
_EXPECTED = f"Expected OAuth 2 access token, login cookie or other valid authentication credential. See {_PAGE}."
_OPEN = ("thumbnails.getPixels", "filmstripThumbnails.getPixels", "tables.getFeatures", "maps.tiles.get")
"""Their names are secrets already: who has one may fetch what it stands for."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the server asks for: nothing, where there are neither tokens nor keys.

    >>> Credentials().required, Credentials.of(["secret"], []).required
    (False, True)
    """

    tokens: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """Scopes by token, without the part that all have in common."""
    keys: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, tokens: Mapping[str, Iterable[str]] | Iterable[str], keys: Iterable[str]) -> Credentials:
        """Tokens with their scopes, or texts ``TOKEN`` and ``TOKEN=SCOPE,SCOPE``."""
        if isinstance(tokens, Mapping):
            return cls({token: frozenset(scopes) for token, scopes in tokens.items()}, frozenset(keys))
        parts = (text.partition("=") for text in tokens)
        return cls(
            {token: frozenset(scopes.split(",")) if scopes else ALL_SCOPES for token, _, scopes in parts},
            frozenset(keys),
        )

    @property
    def required(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.tokens or self.keys)

    def check(self, method: Method, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        """Refuse a call without the right to make it."""
        if not self.required or method.name in _OPEN:
            return
        token = bearer(headers) or query.get("access_token") or query.get("oauth_token")
        key = query.get("key") or headers.get("x-goog-api-key")
        if token:
            self._check_token(token, method)
        elif key:
            self._check_key(key, method)
        else:
            raise missing(method)

    def _check_token(self, token: str, method: Method) -> None:
        scopes = next((scopes for known, scopes in self.tokens.items() if _same(known, token)), None)
        if scopes is None:
            raise rejected("ACCESS_TOKEN_TYPE_UNSUPPORTED", method.id)
        if method.scopes and not scopes & set(method.scopes):
            message = "Request had insufficient authentication scopes."
            raise Refusal(
                EmulatorError("PERMISSION_DENIED", message, (_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", method.id),)),
                {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{_scope_urls(method)}"'},
            )

    def _check_key(self, key: str, method: Method) -> None:
        if not any(_same(known, key) for known in self.keys):
            message = "API key not valid. Please pass a valid API key."
            raise EmulatorError("INVALID_ARGUMENT", message, (_info("API_KEY_INVALID", None),))
        if "earthengine.readonly" not in method.scopes:
            text = "Expected OAuth2 access token or other authentication credentials that assert a principal."
            message = f"API keys are not supported by this API. {text} See https://cloud.google.com/docs/authentication"
            info = _info("CREDENTIALS_MISSING", method.id)
            raise Refusal(EmulatorError("UNAUTHENTICATED", message, (info,)), {"WWW-Authenticate": _REALM})


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of an ``Authorization`` header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def missing(method: Method) -> Refusal:
    """The answer to a call without credentials."""
    message = f"Request is missing required authentication credential. {_EXPECTED}"
    error = EmulatorError("UNAUTHENTICATED", message, (_info("CREDENTIALS_MISSING", method.id),))
    return Refusal(error, {"WWW-Authenticate": _REALM})


def rejected(reason: str, method: str | None) -> Refusal:
    """The answer to a token that is unknown (``ACCESS_TOKEN_TYPE_UNSUPPORTED``) or has expired (``ACCESS_TOKEN_EXPIRED``)."""
    message = f"Request had invalid authentication credentials. {_EXPECTED}"
    error = EmulatorError("UNAUTHENTICATED", message, (_info(reason, method),))
    return Refusal(error, {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})


def _scope_urls(method: Method) -> str:
    return " ".join(f"https://www.googleapis.com/auth/{scope}" for scope in method.scopes)


def _info(reason: str, method: str | None) -> dict[str, Any]:
    metadata = {"service": SERVICE, **({"method": method} if method else {})}
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _same(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "surrogateescape"))
