"""The verbs that the operator needs, as the chart grants them; the tests run with these and no others."""

from typing import Any

WATCHED_RULES: list[dict[str, Any]] = [
    {"apiGroups": ["modelway.dev"], "resources": ["llmmodels", "routingpolicies"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["modelway.dev"], "resources": ["llmmodels/status", "routingpolicies/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch", "create", "patch"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
"""In every watched namespace (a Role in each), or in all (one ClusterRole)."""


def own_rules(release: str) -> list[dict[str, Any]]:
    """In the operator's own namespace, besides."""
    secrets = [f"{release}-internal-ca", f"{release}-gateway-tls", f"{release}-config"]
    return [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [f"{release}-operator"],
            "verbs": ["get", "update"],
        },
    ]
