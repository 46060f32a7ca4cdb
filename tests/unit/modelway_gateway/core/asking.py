"""Builds questions: what a request looks like to the core."""

from __future__ import annotations

import msgspec
from multidict import CIMultiDict

from modelway_gateway.core.body import read_fields
from modelway_gateway.core.features import Caller, Question

from tests.support.gateway import NAMESPACE

ALICE = Caller(NAMESPACE, "alice")
MESSAGES = [{"role": "user", "content": "hi"}]


def ask(
    model: str = "chat",
    *,
    namespace: str = NAMESPACE,
    caller: Caller | None = ALICE,
    headers: dict[str, str] | CIMultiDict[str] | None = None,
    **fields: object,
) -> Question:
    """A question with this body."""
    body = msgspec.json.encode({"model": model, "messages": MESSAGES, **fields})
    return Question(
        namespace=namespace,
        model=model,
        caller=caller,
        headers=CIMultiDict(headers or {}),
        fields=read_fields(body),
        body=body,
    )
