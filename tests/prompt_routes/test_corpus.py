"""The corpus is what it says it is: enough of each, nothing twice, and no prompt among the policy's own phrases."""

import re
from collections import Counter
from difflib import SequenceMatcher

from tests.prompt_routes.corpus import ROUTES, model_manifests, nasty_texts, policy_manifest, prompts


def test_every_route_has_prompts_of_many_lengths_and_none_is_there_twice() -> None:
    """At least 24 a route, from some five characters to more than a thousand."""
    counts = Counter(prompt.route for prompt in prompts())
    lengths = [len(prompt.text) for prompt in prompts()]

    assert set(ROUTES) == set(counts)
    assert min(counts.values()) >= 24
    assert len(prompts()) == len({words(prompt.text) for prompt in prompts()}) == len({p.id for p in prompts()})
    assert (min(lengths) <= 5, max(lengths) in range(1000, 1501)) == (True, True)


def test_no_prompt_is_equal_or_close_to_a_phrase_of_the_policy() -> None:
    """Otherwise the category would be asked about what it was told."""
    signals = policy_manifest()["spec"]["signals"]
    phrases = next(signal["examples"]["phrases"] for signal in signals if "examples" in signal)
    likeness = {
        (phrase, prompt.text): SequenceMatcher(None, words(phrase), words(prompt.text)).ratio()
        for phrase in phrases
        for prompt in prompts()
    }
    closest = max(likeness, key=likeness.__getitem__)

    assert 12 == len(phrases)
    assert likeness[closest] < 0.75, closest


def test_policy_asks_in_the_order_of_the_routes_and_each_leads_to_a_model_of_its_name() -> None:
    """So an answer's model says which route its prompt took."""
    rules = policy_manifest()["spec"]["rules"]
    models = model_manifests(url="https://llm.example.com/v1")

    assert list(ROUTES) == [rule["name"] for rule in rules]
    assert list(ROUTES) == [rule["targets"][0]["modelRef"]["name"] for rule in rules]
    assert list(ROUTES) == [model["metadata"]["name"] for model in models]


def test_nasty_texts_have_names_of_their_own_and_demand_routes_that_exist() -> None:
    """Long ones are written out from their recipes."""
    texts = {nasty.name: nasty for nasty in nasty_texts()}

    assert len(texts) == len(nasty_texts()) >= 25
    assert {route for nasty in texts.values() for route in (nasty.names, nasty.leads_to) if route} <= set(ROUTES)
    assert "" == texts["empty"].text
    assert "a" * 1_000_000 == texts["a million of one letter"].text


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    return tuple(re.findall(r"\w+", text.lower()))
