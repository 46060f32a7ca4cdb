"""The simulator over HTTPS, with a certificate made for the test."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM, tls_context
from modelway_cli.traffic.plan import TrafficPlan
from modelway_cli.traffic.run import run_traffic


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulator")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_it_serves_https(certificate: tuple[Path, Path]) -> None:
    """A client that trusts the certificate is answered."""
    trust = ssl.create_default_context(cafile=certificate[0])
    async with (
        SimulatedLLM(tls=tls_context(*certificate)) as llm,
        aiohttp.ClientSession() as session,
        session.get(f"{llm.base_url}/models", ssl=trust) as answer,
    ):
        assert llm.base_url.startswith("https://127.0.0.1:")
        assert answer.status == 200


async def test_traffic_does_not_pass_over_an_untrusted_certificate(certificate: tuple[Path, Path]) -> None:
    """It is a TLS error, and nothing is sent."""
    async with SimulatedLLM(Behaviour(models=("m",)), tls=tls_context(*certificate)) as llm:
        report = await run_traffic(TrafficPlan(url=llm.base_url, model="m", requests=2))

    assert report.by_error == {"tls_error": 2}
    assert llm.stats.received == 0
