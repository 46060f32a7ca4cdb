"""What real gateways find of a policy's examples, in the status of a real object."""

from pathlib import Path
from typing import Any

from tests.integration.operator.installation import an_installation
from tests.support.apiserver import ApiServer, Kube
from tests.support.waiting import eventually

RETURNS = [
    "I want to send this back and get my money back",
    "How can I return the shoes that I bought?",
    "The jacket does not fit, can I exchange it for a larger one?",
    "When will I get the refund for my returned order?",
    "Please send me a return label for the parcel",
]
ANYTHING = ["What is the capital of France?", "Write a poem", "2 + 2", "Refund the jacket", "Hello, how are you?"]


async def test_figures_stand_in_the_status_and_what_is_hard_to_tell_is_an_event(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    """Both gateways fit the same phrases; five that have nothing in common are named, five that belong together not."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=2) as install:
        await install.start_operator()
        await install.add_keys()
        await install.add_model("llama")
        signals = [
            {"name": "returns", "examples": {"phrases": RETURNS}},
            {"name": "anything", "examples": {"phrases": ANYTHING, "threshold": "0.75"}},
        ]
        rules = [
            {
                "name": name,
                "when": {"all": [{"signal": name}]},
                "targets": [{"name": "main", "modelRef": {"name": "llama"}}],
            }
            for name in ("returns", "anything")
        ]
        spec = {"models": ["guide"], "signals": signals, "rules": rules}
        policy = await install.apply("RoutingPolicy", "guide", spec=spec)
        await install.ready(policy)

        async def figures() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await kube.get(policy))["status"].get("signals") or []
            return found

        async def told() -> list[str]:
            events = await kube.call("GET", f"/api/v1/namespaces/{namespace}/events")
            return [one["message"] for one in events["items"] if one["reason"] == "IndistinctExamples"]

        returns, anything = await eventually(figures)
        messages = await eventually(told)
        acks = [gateway.live.status().examples for gateway in install.gateways]

    assert [("returns", 5), ("anything", 5)] == [(each["name"], each["phrases"]) for each in (returns, anything)]
    assert (float(returns["accuracy"]) >= 0.7, float(anything["accuracy"]) < 0.7) == (True, True), (returns, anything)
    assert "0.75" == anything["threshold"]
    assert ["signal anything"] == [message.partition(":")[0] for message in messages]
    assert acks[0] == acks[1]
