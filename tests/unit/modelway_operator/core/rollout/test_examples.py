"""The examples are what users copy: they are taken as they are, and their rollouts work on the chart's defaults."""

from pathlib import Path

import pytest
import yaml

from modelway_operator.api.parsing import parse_llmmodel, parse_routingpolicy
from modelway_operator.core.rollout.settings import settings_of

EXAMPLES = Path(__file__).resolve().parents[5] / "examples"
CHART_SCRAPE_SECONDS = 15.0


@pytest.mark.parametrize(("example", "steps"), [("canary", (5, 25, 50)), ("blue-green", ())])
def test_an_example_is_taken_as_it_is(example: str, steps: tuple[int, ...]) -> None:
    """Models and policy; and every target of the policy points at a model of the example."""
    models = [parse_llmmodel(raw) for raw in yaml.safe_load_all((EXAMPLES / example / "models.yaml").read_text())]
    policy = parse_routingpolicy(yaml.safe_load((EXAMPLES / example / "policy.yaml").read_text()))
    (settings,) = [settings_of(rollout, CHART_SCRAPE_SECONDS) for rollout in policy.spec.rollouts]

    assert steps == settings.step_weights
    pointed_at = {target.model_ref.name for rule in policy.spec.rules for target in rule.targets}
    assert pointed_at <= {model.metadata.name for model in models}
