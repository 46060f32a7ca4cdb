"""What a client without retries may lose while gateways are replaced: a request that crosses a connection's close.

The rule: HTTP/1.1 has no way to close a resting connection that a client may be about to use. Gateways end busy ones
with an answer that says so, and close what still rests after that; the moment of the close itself remains.
"""

from datetime import UTC, datetime

from tests.cluster.installation import Traffic

MOST_CROSSED = 1 / 2000
"""Share of requests; on the node, about one of 13,000 was lost so."""


def lost_otherwise(*traffics: Traffic) -> list[str]:
    """What failed in another way, or all of it where that is more than can have crossed."""
    failed = [one for traffic in traffics for one in traffic.failed()]
    crossed = [one for one in failed if (one.status, one.error) == (None, "connection_lost")]
    is_few = len(crossed) <= MOST_CROSSED * sum(len(traffic.ended) for traffic in traffics)
    return [
        f"{one.status} {one.error} {datetime.fromtimestamp(one.begun_at, UTC):%H:%M:%S.%f}"
        for one in failed
        if not (is_few and one in crossed)
    ]
