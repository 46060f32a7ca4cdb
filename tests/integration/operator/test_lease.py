"""Who acts: the lease on a real API server, and time as the test says."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from modelway_operator.clients.cluster import Cluster, read_connection
from modelway_operator.clients.lease import EPOCH_ANNOTATION, LEASE_SECONDS, RENEW_DEADLINE_SECONDS, Lease, Role
from modelway_operator.errors import ConflictError
from modelway_operator.kinds import LEASE
from modelway_operator.settings import Settings

from tests.integration.operator.rbac import own_rules
from tests.support.apiserver import OPERATOR_TOKEN, OPERATOR_USER, ApiServer, Kube
from tests.support.cut import Line, a_line
from tests.support.waiting import eventually


class Clock:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Replicas = Callable[[str], Lease]


@pytest.fixture
def clock() -> Clock:
    """One for all replicas of a test."""
    return Clock()


@pytest.fixture
def replica(cluster: Cluster, settings: Settings, clock: Clock) -> Replicas:
    """Makes replicas."""
    return lambda name: Lease(cluster, namespace=settings.namespace, name=settings.lease, identity=name, clock=clock)


@asynccontextmanager
async def behind_a_line(apiserver: ApiServer, settings: Settings, clock: Clock) -> AsyncIterator[tuple[Lease, Line]]:
    async with a_line(apiserver.url) as line:
        cut = dataclasses.replace(settings, kubeconfig=apiserver.kubeconfig(url=line.url))
        cluster = Cluster(await read_connection(cut))
        yield Lease(cluster, namespace=cut.namespace, name=cut.lease, identity="cut", clock=clock), line
        await cluster.close()


def a_lease(settings: Settings) -> dict[str, object]:
    metadata = {"namespace": settings.namespace, "name": settings.lease}
    return {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata}


async def test_first_leads_and_second_follows(replica: Replicas) -> None:
    """One of two."""
    one, two = replica("one"), replica("two")
    for _ in range(3):
        await one.step()
        await two.step()

    assert (Role.LEADING, Role.FOLLOWING) == (one.role, two.role)


async def test_p8_released_lease_is_taken_at_the_next_look_with_a_higher_epoch(replica: Replicas) -> None:
    """A leader that ends in order costs nobody a wait."""
    one, two = replica("one"), replica("two")
    await one.step()
    await two.step()
    await one.release()
    await two.step()

    assert (Role.FOLLOWING, Role.LEADING) == (one.role, two.role)
    assert two.epoch == one.epoch + 1


async def test_p8_silent_leader_is_replaced_after_the_lease_and_not_before(replica: Replicas, clock: Clock) -> None:
    """Fifteen seconds by the follower's own clock."""
    one, two = replica("one"), replica("two")
    await one.step()
    await two.step()
    clock.now += LEASE_SECONDS - 1
    await two.step()
    early = two.role
    clock.now += 1
    await two.step()

    assert (Role.FOLLOWING, Role.LEADING) == (early, two.role)


async def test_leader_stops_before_another_may_begin(replica: Replicas, clock: Clock) -> None:
    """The deadline to renew is shorter than the lease, so two never act at once."""
    one = replica("one")
    await one.step()
    clock.now += RENEW_DEADLINE_SECONDS

    assert Role.LEADING is not one.role
    assert RENEW_DEADLINE_SECONDS < LEASE_SECONDS


async def test_f05_times_written_in_the_lease_decide_nothing(
    replica: Replicas, kube: Kube, settings: Settings, clock: Clock
) -> None:
    """A holder whose wall clock is an hour off is not dead, and a dead one with a date in the future is."""
    one, two = replica("one"), replica("two")
    await one.step()
    wrong = {"spec": {"renewTime": "2001-01-01T00:00:00.000000Z"}}
    await kube.patch(a_lease(settings), wrong)
    await two.step()
    seen_long_ago = two.role
    await kube.patch(a_lease(settings), {"spec": {"renewTime": "2099-01-01T00:00:00.000000Z"}})
    await two.step()
    clock.now += LEASE_SECONDS
    await two.step()

    assert (Role.FOLLOWING, Role.LEADING) == (seen_long_ago, two.role)


async def test_f02_former_leader_follows_once_it_looks(replica: Replicas, clock: Clock) -> None:
    """It was stopped, another one leads: its first look tells it."""
    one, two = replica("one"), replica("two")
    await one.step()
    await two.step()
    clock.now += LEASE_SECONDS
    await two.step()
    assert Role.FOLLOWING is one.role
    await one.step()

    assert (Role.FOLLOWING, Role.LEADING) == (one.role, two.role)
    with pytest.raises(ConflictError):
        await one.raise_epoch(100)


async def test_f11_leader_without_an_api_server_is_cut_off_and_leads_on_when_it_is_back(
    apiserver: ApiServer, settings: Settings, clock: Clock
) -> None:
    """Nobody took its place: same epoch, nothing lost."""
    async with behind_a_line(apiserver, settings, clock) as (lease, line):
        await lease.step()
        epoch = lease.epoch
        line.cut()
        clock.now += RENEW_DEADLINE_SECONDS - 1
        await lease.step()
        still = lease.role
        clock.now += 1
        await lease.step()
        cut_off = lease.role
        line.mend()
        await lease.step()

        assert [Role.LEADING, Role.CUT_OFF, Role.LEADING] == [still, cut_off, lease.role]
        assert epoch == lease.epoch


async def test_f11_leader_that_comes_back_to_another_leader_follows(
    apiserver: ApiServer, settings: Settings, clock: Clock, replica: Replicas
) -> None:
    """It was cut off for longer than the lease."""
    other = replica("other")
    async with behind_a_line(apiserver, settings, clock) as (lease, line):
        await lease.step()
        await other.step()
        line.cut()
        clock.now += LEASE_SECONDS
        await lease.step()
        await other.step()
        line.mend()
        await lease.step()

        assert (Role.FOLLOWING, Role.LEADING) == (lease.role, other.role)
        assert other.epoch > lease.epoch


async def test_f04_deleted_lease_is_made_anew_with_a_higher_epoch(
    replica: Replicas, kube: Kube, settings: Settings
) -> None:
    """Its annotation is gone with it, but not the epoch that was pushed."""
    one = replica("one")
    await one.step()
    epoch = one.epoch
    await kube.delete(a_lease(settings))
    await one.step()
    await one.step()

    assert Role.LEADING is one.role
    assert one.epoch > epoch


async def test_f04_leader_that_may_not_renew_stops_by_the_deadline(
    apiserver: ApiServer, kube: Kube, settings: Settings, clock: Clock
) -> None:
    """A role that lost its verbs is not an API server that is away: it may not even take traffic away."""
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{settings.namespace}"
    group = "rbac.authorization.k8s.io"
    await kube.call("POST", f"{base}/roles", {"metadata": {"name": "op"}, "rules": own_rules(settings.release)})
    binding = {
        "metadata": {"name": "op"},
        "subjects": [{"kind": "User", "name": OPERATOR_USER, "apiGroup": group}],
        "roleRef": {"kind": "Role", "name": "op", "apiGroup": group},
    }
    await kube.call("POST", f"{base}/rolebindings", binding)
    restricted = dataclasses.replace(settings, kubeconfig=apiserver.kubeconfig(OPERATOR_TOKEN))
    cluster = Cluster(await read_connection(restricted))
    lease = Lease(cluster, namespace=settings.namespace, name=settings.lease, identity="one", clock=clock)

    async def leads() -> bool:
        await lease.step()
        return lease.role is Role.LEADING

    await eventually(leads)
    await kube.call("DELETE", f"{base}/rolebindings/op")

    async def follows() -> bool:
        # The API server may grant what was taken back for a moment more.
        clock.now += RENEW_DEADLINE_SECONDS
        await lease.step()
        return lease.role is Role.FOLLOWING

    await eventually(follows)
    await cluster.close()


async def test_epoch_is_written_down_before_it_is_used(replica: Replicas, kube: Kube, settings: Settings) -> None:
    """It is higher than everything that was pushed, and the next leader's is higher still."""
    one, two = replica("one"), replica("two")
    await one.step()

    assert 42 == await one.raise_epoch(41)
    assert "42" == (await kube.get(a_lease(settings)))["metadata"]["annotations"][EPOCH_ANNOTATION]
    assert 42 == await one.raise_epoch(7)
    await one.step()
    await one.release()
    await two.step()
    assert 43 == two.epoch


async def test_label_that_somebody_sets_does_not_cost_the_lead(
    replica: Replicas, kube: Kube, settings: Settings
) -> None:
    """A conflict is read again before anything is concluded from it."""
    one = replica("one")
    await one.step()
    epoch = one.epoch
    await kube.patch(a_lease(settings), {"metadata": {"labels": {"seen": "yes"}}})
    await one.step()

    assert (Role.LEADING, epoch) == (one.role, one.epoch)
    assert {"seen": "yes"} == (await kube.get(a_lease(settings)))["metadata"]["labels"]
