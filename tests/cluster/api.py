"""The API server without kubectl in between, for what has to be quick: a change, a look, a stream of changes.

The one rule: this is a user's access, never the operator's code, so that what it sees is seen independently.
"""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

MODELWAY = "/apis/modelway.dev/v1alpha1/namespaces"
TIMEOUT_SECONDS = 10.0


class Api:
    """One user of one cluster; every call is a connection of its own, but a watch."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._address = urlsplit(cluster["server"])
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as file:
                file.write(base64.b64decode(user["client-certificate-data"]))
                file.write(base64.b64decode(user["client-key-data"]))
                file.flush()
                self._context.load_cert_chain(file.name)

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """One request, which must succeed; what was answered."""
        connection = self._connect(TIMEOUT_SECONDS)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {**self._headers, "Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
        return json.loads(text)

    def get(self, path: str) -> Any:
        """An object or a list."""
        return self.call("GET", path)

    def apply(self, manifest: dict[str, Any], *, path: str) -> Any:
        """Server-side apply, as a GitOps tool does it; the object as the API server has it then."""
        query = urlencode({"fieldManager": "tests", "force": "true"})
        return self.call("PATCH", f"{path}?{query}", manifest, kind="application/apply-patch+yaml")

    def merge(self, path: str, patch: dict[str, Any]) -> Any:
        """A merge patch."""
        return self.call("PATCH", path, patch, kind="application/merge-patch+json")

    def watch(self, collection: str, name: str, *, seconds: int) -> Iterator[dict[str, Any]]:
        """One object as it is and then every change of it, for so long at most."""
        query = urlencode({"watch": "true", "timeoutSeconds": seconds, "fieldSelector": f"metadata.name={name}"})
        connection = self._connect(seconds + TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{collection}?{query}", headers=self._headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        port = self._address.port or 443
        return http.client.HTTPSConnection(str(self._address.hostname), port, timeout=timeout, context=self._context)


def pods_of(api: Api, namespace: str, selector: str) -> list[dict[str, Any]]:
    """Pods by their labels, but those that have ended."""
    found = api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(selector)}")["items"]
    return [pod for pod in found if pod["status"].get("phase") not in {"Succeeded", "Failed"}]


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether its Service sends it traffic."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
