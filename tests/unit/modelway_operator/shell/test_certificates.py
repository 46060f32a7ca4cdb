"""The internal certificates are a function of what is stored and of the time."""

import datetime as dt
import ssl

from cryptography import x509

from modelway_contract.names import ADMIN_SERVER_NAME, OPERATOR_CLIENT_NAME
from modelway_operator.clients import certificates
from modelway_operator.clients.certificates import Identity, Pair, renew

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def again(known: Identity, *, now: dt.datetime) -> Identity:
    return renew(known.as_ca_secret(), known.as_tls_secret(), now=now)


def issuer_of(leaf: Pair) -> x509.Name:
    return leaf.parsed.issuer


def names_of(leaf: Pair) -> list[str]:
    extension = leaf.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_names_are_the_contracts_and_nothing_else() -> None:
    """One name on each side; pods are dialled by IP, so a name is what is checked."""
    known = renew({}, {}, now=NOW)

    assert [ADMIN_SERVER_NAME] == names_of(known.server)
    assert [OPERATOR_CLIENT_NAME] == names_of(known.client)


def test_nothing_changes_while_everything_is_young() -> None:
    """At rest nothing may be written."""
    known = renew({}, {}, now=NOW)

    assert known == again(known, now=NOW + 59 * DAY)


def test_leaves_are_renewed_at_two_thirds_of_their_life() -> None:
    """Renewal has a month to spare, so an outage never meets an expired certificate."""
    known = renew({}, {}, now=NOW)
    later = again(known, now=NOW + 61 * DAY)

    assert known.authority == later.authority
    assert known.server != later.server
    assert known.client != later.client


def test_f60_new_authority_is_trusted_before_it_signs_and_old_one_afterwards() -> None:
    """Both sides learn of the new authority a day before they meet a certificate of it."""
    moment = NOW + certificates.AUTHORITY_LIFE * certificates.RENEW_AT + DAY
    known = renew({}, {}, now=NOW)
    known = again(known, now=moment - 2 * DAY)
    turned = again(known, now=moment)
    used = again(turned, now=moment + 2 * DAY)

    assert turned.authority != known.authority
    assert turned.trusted == turned.authority.certificate + known.authority.certificate
    assert issuer_of(turned.server) == issuer_of(turned.client) == known.authority.parsed.subject
    assert turned == again(turned, now=moment + DAY / 2)
    assert issuer_of(used.server) == issuer_of(used.client) == turned.authority.parsed.subject
    assert used.trusted == turned.trusted
    assert used == again(used, now=moment + 3 * DAY)


def test_old_authority_is_forgotten_once_it_expired() -> None:
    """Trust ends with the certificate."""
    known = renew({}, {}, now=NOW)
    turned = again(known, now=NOW + certificates.AUTHORITY_LIFE * certificates.RENEW_AT + DAY)
    late = again(turned, now=NOW + certificates.AUTHORITY_LIFE + DAY)

    assert late.authority == turned.authority
    assert late.trusted == late.authority.certificate


def test_lost_or_damaged_parts_are_made_anew() -> None:
    """Each part is mended alone; only without an authority does everything start over."""
    known = renew({}, {}, now=NOW)
    without_server = renew(known.as_ca_secret(), {}, now=NOW)
    damaged = renew(known.as_ca_secret() | {"tls.key": b"nonsense"}, known.as_tls_secret(), now=NOW)
    started_over = renew(known.as_ca_secret() | {"ca.key": known.client.key}, known.as_tls_secret(), now=NOW)

    assert (known.authority, known.client) == (without_server.authority, without_server.client)
    assert known.server != without_server.server
    assert (known.authority, known.server) == (damaged.authority, damaged.server)
    assert known.client != damaged.client
    assert known.authority != started_over.authority


def test_leaf_of_another_authority_is_replaced() -> None:
    """Somebody else's Secret under our name does not get trusted."""
    known, other = renew({}, {}, now=NOW), renew({}, {}, now=NOW)
    mixed = renew(known.as_ca_secret(), other.as_tls_secret(), now=NOW)

    assert mixed.server not in (known.server, other.server)
    assert known.authority.parsed.subject == issuer_of(mixed.server)


def test_clock_set_back_changes_nothing() -> None:
    """A clock that is an hour slow must not cost the authority."""
    known = renew({}, {}, now=NOW)

    assert known == again(known, now=NOW - dt.timedelta(hours=1))


def test_p25_no_key_in_the_text_form() -> None:
    """A record that is logged by mistake shows no key."""
    known = renew({}, {}, now=NOW)

    assert "PRIVATE" not in repr(known)


def test_gateways_secret_holds_no_key_of_the_operator() -> None:
    """A stolen gateway cannot push."""
    known = renew({}, {}, now=NOW)
    mounted = b"".join(known.as_tls_secret().values())

    assert known.client.key not in mounted
    assert known.authority.key not in mounted


def test_client_context_checks_names_and_authority() -> None:
    """The context must not be one that believes anybody."""
    context = certificates.client_context(renew({}, {}, now=dt.datetime.now(dt.UTC)))

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert 1 == len(context.get_ca_certs())
