"""The API server: raw objects in and out, each call bounded in time, each refusal one of our own errors.

Rule: whatever is written is written under one field manager by server-side apply, so that fields and conditions of
others are never touched, and a status only over the very version that was judged.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from modelway_operator.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    OperatorError,
    SettingsError,
    UnreachableError,
)
from modelway_operator.kinds import SECRET, Kind, Raw
from modelway_operator.settings import Settings

FIELD_MANAGER: Final = "modelway-operator"
LIST_CHUNK: Final = 500
LIST_TIMEOUT_SECONDS: Final = 15.0
CALL_TIMEOUT_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 30.0

_APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, the body, and how long to stay away if that was said."""

    status: int
    body: bytes
    retry_after_seconds: float | None


async def read_connection(settings: Settings) -> kubernetes_client.Configuration:
    """How to reach the API server: the pod's service account, or a kubeconfig where one is named."""
    # Without an explicit value the client would look for proxies in the environment.
    configuration = kubernetes_client.Configuration(client_session_kwargs={"trust_env": False})
    try:
        if settings.kubeconfig is not None:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(settings.kubeconfig), client_configuration=configuration, persist_config=False
            )
        else:
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (kubernetes_config.ConfigException, OSError) as exc:
        raise SettingsError(f"no way to the API server: {exc} (outside a cluster, set --kubeconfig)") from exc
    configuration.proxy = None
    return configuration


class Cluster:
    """The API server, as far as the operator needs it."""

    def __init__(
        self,
        configuration: kubernetes_client.Configuration,
        *,
        on_error: Callable[[str, int], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = kubernetes_client.ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER
        self._on_error = on_error
        self._clock = clock
        self._quiet_until = 0.0
        self.last_answer = clock()
        """When the API server last said anything at all, on the monotonic clock."""

    async def close(self) -> None:
        """Give the connections back."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def list_objects(self, kind: Kind, namespace: str | None = None) -> list[Raw]:
        """Every object of a kind, in one namespace or in all.

        Raises NotFoundError when the kind does not exist, which is not the same as an empty list.
        """
        try:
            return await self._list(kind, namespace, chunk=LIST_CHUNK)
        except ClusterError as exc:
            if exc.status != 410:
                raise
            # The continue token grew too old between two chunks: once more, in one piece.
            return await self._list(kind, namespace, chunk=None)

    async def _list(self, kind: Kind, namespace: str | None, *, chunk: int | None) -> list[Raw]:
        found: list[Raw] = []
        query: dict[str, str] = {"labelSelector": kind.selector} if kind.selector else {}
        if chunk is not None:
            query["limit"] = str(chunk)
        while True:
            page = await self._call(kind, "GET", kind.path(namespace), query, timeout_seconds=LIST_TIMEOUT_SECONDS)
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page.get("items") or ()]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object by name; None when it is not there."""
        try:
            return await self._call(kind, "GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    async def create_object(self, kind: Kind, namespace: str, body: Raw) -> Raw:
        """Create; ConflictError when it exists."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call(kind, "POST", kind.path(namespace), query, body=body)

    async def replace_object(self, kind: Kind, body: Raw) -> Raw:
        """Replace what was read before; ConflictError when it changed since (its resourceVersion is in the body)."""
        metadata = body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        return await self._call(kind, "PUT", path, {"fieldManager": FIELD_MANAGER}, body=body)

    async def apply_object(self, kind: Kind, body: Raw) -> Raw:
        """Create or change an object of our own: fields in the body are ours, all others stay."""
        metadata = body["metadata"]
        return await self._apply(kind, kind.path(metadata["namespace"], metadata["name"]), body)

    async def apply_status(
        self, kind: Kind, *, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Raw:
        """Write what the operator has to say about one object, and nothing that others say about it.

        Raises NotFoundError or ConflictError when it is not that very object any more, in that very version: what
        was judged may not be what is there now. (Of a status, the API server would not check the uid.)
        """
        metadata = {"namespace": namespace, "name": name, "resourceVersion": resource_version}
        body = {"metadata": metadata, "status": dict(status)}
        return await self._apply(kind, kind.path(namespace, name, subresource="status"), body)

    async def _apply(self, kind: Kind, path: str, body: Raw) -> Raw:
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call(kind, "PATCH", path, query, body=whole, content_type=_APPLY)

    async def _call(
        self,
        kind: Kind,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Raw | None = None,
        content_type: str = _JSON,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> Raw:
        what = f"{method} {path}"
        # Leases are exempt: the one call in two seconds that tells who acts must not wait for others' manners.
        if self._clock() < self._quiet_until and kind.plural != "leases":
            raise UnreachableError(f"{what}: the API server asked for a pause", status=429)
        try:
            answer = await self._send(method, path, query, body, content_type, timeout_seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            self._on_error(method, 0)
            raise UnreachableError(f"{what}: {type(exc).__name__}") from exc
        self.last_answer = self._clock()
        if 200 <= answer.status <= 299:
            return _read(what, answer.body)
        self._on_error(method, answer.status)
        if answer.retry_after_seconds is not None:
            self._quiet_until = self._clock() + min(answer.retry_after_seconds, LONGEST_PAUSE_SECONDS)
        raise _refusal(what, answer, secret=kind is SECRET)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Raw | None,
        content_type: str,
        timeout_seconds: float,
    ) -> Answer:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        # Written out by hand, since the generated classes would turn every answer into model objects.
        method, url, headers, sent, _ = await self._api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        if query:
            url += "?" + urlencode(query)
        response = await self._api.call_api(method, url, headers, sent, _request_timeout=timeout_seconds)
        data = await response.read()  # type: ignore[no-untyped-call]
        return Answer(status=response.status, body=data, retry_after_seconds=_retry_after(response.headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _read(what: str, body: bytes) -> Raw:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise ClusterError(f"{what}: the answer is not a JSON object") from exc


def _refusal(what: str, answer: Answer, *, secret: bool) -> OperatorError:
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        said = {}
    # A refusal may quote what it refuses, so of a Secret's only the reason is repeated.
    message = str(said.get("reason" if secret else "message") or "no reason given")[:500]
    text = f"{what}: HTTP {answer.status}: {message}"
    match answer.status:
        case 404:
            return NotFoundError(text, status=404)
        case 409:
            return ConflictError(text, status=409)
        case 401 | 403:
            return ForbiddenError(text, status=answer.status)
        case status if status == 429 or status >= 500:
            return UnreachableError(text, status=status)
        case status:
            return ClusterError(text, status=status)
