"""Generated load goes to loopback and private addresses."""

import pytest

from modelway_cli.errors import PublicTargetError
from modelway_cli.traffic.addresses import check_addresses, is_ours


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("192.168.1.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("::ffff:10.0.0.1", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("192.169.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("::", False),
        ("100.64.0.1", False),
        ("198.18.0.1", False),
        ("2001:4860:4860::8888", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_what_counts_as_ours(address: str, ours: bool) -> None:
    """Link-local and special addresses do not: metadata services answer at some of them."""
    assert ours is is_ours(address)


def test_one_public_address_among_private_ones_is_enough_to_refuse() -> None:
    """A connection may go to any address of a name; the message says how to insist."""
    with pytest.raises(PublicTargetError, match=r"8\.8\.8\.8.*--allow-public"):
        check_addresses("mixed.example", ["10.0.0.1", "8.8.8.8"])
