"""What can be asked from outside of the components: do they answer, and is the machine free for ours.

The API server is asked directly, not by kubectl, which takes a second of a busy machine to start.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping

from .layout import API_PORT, NODE_ADDRESS, NODE_NAME, Layout
from .network import PROXY_TABLES
from .shell import attempt


def is_api_ready(layout: Layout) -> bool:
    """Whether the API server says it is ready."""
    return ask_api(layout, "/readyz") == b"ok"


def is_node_ready(layout: Layout) -> bool:
    """Whether the one node's condition is Ready."""
    answer = ask_api(layout, f"/api/v1/nodes/{NODE_NAME}")
    conditions = json.loads(answer)["status"]["conditions"] if answer else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def has_service_account(layout: Layout) -> bool:
    """Whether pods may be created in the default namespace: they need its service account."""
    return ask_api(layout, "/api/v1/namespaces/default/serviceaccounts/default") is not None


def ask_api(layout: Layout, path: str, document: Mapping[str, object] | None = None) -> bytes | None:
    """What the API server answers the administrator, to a document posted if there is one; None for a refusal."""
    if not (layout.pki / "admin.crt").exists():
        return None
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    body = None if document is None else json.dumps(document).encode()
    url = f"https://{NODE_ADDRESS}:{API_PORT}{path}"
    return ask(urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}), context)


def ask(request: str | urllib.request.Request, context: ssl.SSLContext | None = None) -> bytes | None:
    """What is answered with success, never through a proxy."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=5) as response:
            return bytes(response.read())
    except (urllib.error.URLError, OSError):
        return None


def is_free() -> bool:
    """Whether no kube-proxy has its tables here."""
    return not any(attempt("nft", "list", "table", family, table) for family, table in PROXY_TABLES)
