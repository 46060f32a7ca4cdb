"""A model's version: a digest of what it *is*.

Rule: format, parameters, and of each backend its place and upstreamModel; nothing else. Everything else goes live at
once, in all arms of a rollout. What goes into the digest must never change between releases: every model in the world
would look like a new candidate.
"""

import hashlib
import json

from modelway_operator.api.llmmodel import LLMModel
from modelway_operator.core.compile.places import place_of

VERSION_DIGITS = 12
"""Hexadecimal digits: short enough for labels and status lines, 2^48 of them for a handful of versions each."""


def version_of(model: LLMModel) -> str:
    """The digest; neither the order nor the names of backends change it."""
    identity = {
        "format": str(model.spec.format),
        "parameters": dict(model.spec.parameters),
        "backends": sorted(
            [place_of(backend, model.metadata.namespace).identity, model.upstream_model(backend)]
            for backend in model.spec.backends
        ),
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]


def model_key(model: str, version: str) -> str:
    """How the rest of the config points at one version of `namespace/name`."""
    return f"{model}@{version}"
