"""What is left when objects and the release are deleted: nothing but the CRDs.

The last of the tests that share the session's installation.
"""

import pytest
from openai import NotFoundError, OpenAI

from tests.cluster.installation import MONITORING, SYSTEM, TENANT, Installation
from tests.cluster.reach import ROOT, wait_until
from tests.cluster.readable import everything_kept, everything_readable
from tests.support.canary import CANARY, PROMPT, WRITTEN, Canary


def test_p25_no_prompt_is_readable_anywhere_after_all_tests(installation: Installation) -> None:
    """Not in logs, metrics, series, objects, Events, dumps, Secrets, the bundle or the audit log."""
    planted = Canary("plantedprompt31415")
    assert sum(installation.received().values()) > 0  # each of these prompts had the canary in it
    installation.cluster.kubectl("annotate", "llmm", "chat-v1", "-n", TENANT, f"planted={planted.word}")

    written = everything_readable(installation) | everything_kept(installation)
    installation.cluster.kubectl("annotate", "llmm", "chat-v1", "-n", TENANT, "planted-")

    for place, text in written.items():
        WRITTEN.search(place, text)
    assert {"objects"} <= {place for place, text in written.items() if planted.forms_in(text)}
    assert [] == [(place, CANARY.forms_in(text)) for place, text in written.items() if CANARY.forms_in(text)]
    for kind in ("log of modelway-gateway", "metrics of modelway-gateway", "bundle ", "GET /config ", "series"):
        assert any(place.startswith(kind) and text for place, text in written.items()), kind


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
