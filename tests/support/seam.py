"""The seam between operator and gateway: what the one pushes, loaded by what the other runs."""

import time
from functools import cache

from modelway_contract.config import Push
from modelway_gateway.core.prompt.reader import Reader
from modelway_gateway.core.runtime import Runtime, build
from modelway_gateway.core.series import SeriesBook
from modelway_gateway.core.signals import Senses
from modelway_gateway.origins import make_origin
from modelway_gateway.prompt_model import load_analyser


def load(push: Push) -> Runtime:
    """The push as a gateway runs it; fails where a gateway would refuse it."""
    assert push.base is not None
    assert push.credentials is not None
    runtime = build(
        push.base,
        push.credentials,
        make_origin=make_origin,
        senses=Senses(reader=_reader(), book=SeriesBook(), clock=time.perf_counter),
    )
    return runtime.with_live(push.live.state, revision="sha256:0")


@cache
def _reader() -> Reader:
    return Reader(load_analyser())
