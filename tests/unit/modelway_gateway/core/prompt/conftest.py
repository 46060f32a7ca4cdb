"""The committed analyser, loaded once."""

import pytest

from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.prompt_model import load_analyser


@pytest.fixture(scope="session")
def analyser() -> Analyser:
    return load_analyser()
