"""The two ways to install: Roles in the watched namespaces, or one ClusterRole; each with the chart's verbs alone."""

from pathlib import Path

import pytest

from tests.integration.operator.installation import an_installation
from tests.integration.operator.rbac import WATCHED_RULES
from tests.support.apiserver import OPERATOR_USER, ApiServer, Kube


async def grant(kube: Kube, name: str, namespace: str | None) -> str:
    """What the chart grants in one watched namespace, or in all; the path of the binding."""
    base = "/apis/rbac.authorization.k8s.io/v1" + (f"/namespaces/{namespace}" if namespace else "")
    kind = "Role" if namespace else "ClusterRole"
    plural, group = kind.lower(), "rbac.authorization.k8s.io"
    await kube.call("POST", f"{base}/{plural}s", {"metadata": {"name": name}, "rules": WATCHED_RULES})
    binding = {
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "name": OPERATOR_USER, "apiGroup": group}],
        "roleRef": {"kind": kind, "name": name, "apiGroup": group},
    }
    await kube.call("POST", f"{base}/{plural}bindings", binding)
    return f"{base}/{plural}bindings/{name}"


@pytest.mark.parametrize("clusterwide", [False, True])
async def test_a_policy_of_one_namespace_serves_a_shared_model_of_another(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, clusterwide: bool
) -> None:
    """Watched by name or all of them: both namespaces' objects are judged, and a key of the one reaches the other."""
    other = await kube.namespace()
    key = f"mw-key-of-{other}-0123456789"
    binding = await grant(kube, namespace, None if clusterwide else other)
    try:
        async with an_installation(apiserver, kube, namespace, tmp_path) as install:
            await install.start_operator(
                "--metrics-source", "none", "--gateway", namespace,
                "--watch-namespaces", "" if clusterwide else f"{namespace},{other}",
            )  # fmt: skip
            await install.add_keys()
            client = {"namespace": other, "labels": {"modelway.dev/secret": "client"}}
            await install.apply("Secret", "bob", metadata=client, stringData={"api-key": key})
            model = await install.add_model("shared", gateway=namespace, access="PolicyOnly")
            target = {"name": "main", "modelRef": {"name": "shared", "namespace": namespace}, "weight": 1}
            policy = await install.apply(
                "RoutingPolicy",
                "chat",
                metadata={"namespace": other},
                spec={"models": ["chat"], "gateway": namespace, "rules": [{"name": "default", "targets": [target]}]},
            )
            await install.ready(model, policy, within_seconds=60.0)
            status, text = await install.chat("chat", key=key)

            assert (200, True) == (status, "hello from shared" in text)
            assert [f"{other}/chat"] == (await kube.get(model))["status"]["referencedBy"]["policies"]
    finally:
        await kube.call("DELETE", binding)
