"""What is left when objects and the release are deleted: nothing but the CRDs.

The last of the tests that share the session's installation.
"""

import pytest
from openai import NotFoundError, OpenAI

from tests.cluster.installation import MONITORING, SYSTEM, TENANT, Installation
from tests.cluster.reach import ROOT, wait_until
from tests.support.canary import PROMPT


def test_delete_and_uninstall_leave_nothing_hanging(installation: Installation) -> None:
    """Objects go at once, routes with them; after the uninstall only the CRDs stay, and namespaces go at once too."""
    cluster = installation.cluster
    cluster.kubectl("delete", "-n", TENANT, "-f", str(ROOT / "examples" / "canary"), "--timeout=20s")
    cluster.kubectl("delete", "-n", TENANT, "llmm", "--all", "--timeout=20s")
    with OpenAI(base_url=installation.gateway_url, api_key=installation.api_key, max_retries=0) as client:
        wait_until("the routes are gone", lambda: [] == list(client.models.list()), seconds=10)
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="chat", messages=[{"role": "user", "content": PROMPT}])
    cluster.helm("uninstall", "modelway", "-n", SYSTEM, "--wait", "--timeout", "120s")

    ours = {"secret/my-client", *(f"{kind}.rbac.authorization.k8s.io/prometheus" for kind in ("role", "rolebinding"))}

    def left() -> set[str]:
        kinds = "all,secrets,leases,pdb,roles,rolebindings,configmaps"
        names = cluster.kubectl("get", kinds, "-n", SYSTEM, "-o", "name").split()
        return set(names) - ours - {"configmap/kube-root-ca.crt"}

    wait_until("nothing of the release is left", lambda: not left(), seconds=90)
    assert "llmmodels.modelway.dev" in cluster.kubectl("get", "crds", "-o", "name")
    cluster.kubectl("delete", "namespace", TENANT, MONITORING, SYSTEM, "restricted", "--timeout=120s")
