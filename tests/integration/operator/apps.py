"""Users' objects in a namespace of their own, apart from the install's, and what a cluster's controllers do there."""

from typing import Any

from tests.integration.operator.installation import CLIENT_KEY, Installation
from tests.integration.operator.rbac import WATCHED_RULES
from tests.support.apiserver import OPERATOR_USER, Kube

_GROUP = "rbac.authorization.k8s.io"


async def a_watched_namespace(kube: Kube) -> str:
    """A namespace in which operators may do what the chart grants them in every watched one."""
    name = await kube.namespace()
    base = f"/apis/{_GROUP}/v1/namespaces/{name}"
    await kube.call("POST", f"{base}/roles", {"metadata": {"name": "operator"}, "rules": WATCHED_RULES})
    binding = {
        "metadata": {"name": "operator"},
        "subjects": [{"kind": "User", "name": OPERATOR_USER, "apiGroup": _GROUP}],
        "roleRef": {"kind": "Role", "name": "operator", "apiGroup": _GROUP},
    }
    await kube.call("POST", f"{base}/rolebindings", binding)
    return name


async def delete_namespace(kube: Kube, name: str) -> bool:
    """`kubectl delete namespace`, and what the namespace controller does then; whether the namespace is gone."""
    path = f"/api/v1/namespaces/{name}"
    namespace = await kube.call("DELETE", path)
    for kind in ("llmmodels", "routingpolicies"):
        await kube.call("DELETE", f"/apis/modelway.dev/v1alpha1/namespaces/{name}/{kind}")
    for kind in ("secrets", "events"):
        await kube.call("DELETE", f"{path}/{kind}")
    left = [
        one["metadata"]["name"]
        for kind in ("llmmodels", "routingpolicies")
        for one in (await kube.call("GET", f"/apis/modelway.dev/v1alpha1/namespaces/{name}/{kind}"))["items"]
    ]
    if left:
        return False
    namespace = await kube.call("GET", path)
    await kube.call("PUT", f"{path}/finalize", {**namespace, "spec": {"finalizers": []}})
    return bool((await kube.call("GET", path, expect=False)).get("code") == 404)


async def add_client(install: Installation, namespace: str, key: str = CLIENT_KEY) -> None:
    """A client of this namespace."""
    meta = {"namespace": namespace, "labels": {"modelway.dev/secret": "client"}}
    await install.apply("Secret", "app", metadata=meta, stringData={"api-key": key})


async def add_model(install: Installation, name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """A model behind the install's upstream, which answers with this name."""
    backend = {"name": "main", "url": f"{install.upstream_url}/v1", "upstreamModel": name}
    content = {"backends": [backend], **spec}
    return await install.apply("LLMModel", name, metadata={"namespace": namespace}, spec=content)


async def is_served(install: Installation, name: str, key: str = CLIENT_KEY) -> bool:
    """Whether a request for this name is answered."""
    return (await install.chat(name, key=key))[0] == 200


async def is_gone(install: Installation, name: str, key: str = CLIENT_KEY) -> bool:
    """Whether this name means nothing to the gateway."""
    return (await install.chat(name, key=key))[0] == 404
