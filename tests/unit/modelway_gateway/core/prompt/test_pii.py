"""Personal data is found by shape and by check digit, and what only looks like it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_contract.prompt_labels import Pii
from modelway_gateway.core.prompt.pii import find_pii, passes_iban, passes_luhn

FOUND = {
    "email": ("write to jo.doe+x@example.co.uk today", Pii.EMAIL),
    "card in groups": ("my card is 4111 1111 1111 1111, thanks", Pii.CARD),
    "card in one": ("5500005555555559", Pii.CARD),
    "card with hyphens": ("3400-0000-0000-009", Pii.CARD),
    "iban": ("pay to DE89 3704 0044 0532 0130 00 please", Pii.IBAN),
    "iban in one, lower case": ("gb82west12345698765432", Pii.IBAN),
    "ssn": ("SSN 078-05-1120.", Pii.SSN),
    "phone, international": ("call +49 30 901820 now", Pii.PHONE),
    "phone, american": ("(212) 555-0123", Pii.PHONE),
    "phone, dashes": ("555-212-0187", Pii.PHONE),
    "key of a provider": ("key sk-" + "a1B2" * 8, Pii.KEY),
    "key of a cloud": ("AKIAIOSFODNN7EXAMPLE", Pii.KEY),
    "private key": ("-----BEGIN RSA PRIVATE KEY-----", Pii.KEY),
    "ip": ("from 192.168.4.17:8080", Pii.IP),
    "ip, six": ("at 2001:db8::8a2e:370:7334", Pii.IP),
}
NOT_FOUND = {
    "card with a wrong digit": ("4111 1111 1111 1112", Pii.CARD),
    "zeros": ("3000 0000 0000 0000", Pii.CARD),
    "iban with wrong check digits": ("DE88 3704 0044 0532 0130 00", Pii.IBAN),
    "ssn of no area": ("000-12-3456", Pii.SSN),
    "part number": ("1078-05-11201", Pii.SSN),
    "version": ("version 1.2.3", Pii.IP),
    "version of five parts": ("1.2.3.4.5", Pii.IP),
    "too large for an address": ("300.1.1.1", Pii.IP),
    "time": ("at 10:20:30", Pii.IP),
    "years": ("from 1990 to 2024", Pii.PHONE),
    "decimal": ("3.14159265", Pii.PHONE),
    "handle": ("ask @jo on example.com", Pii.EMAIL),
    "short key": ("sk-123", Pii.KEY),
}


@pytest.mark.parametrize(("text", "kind"), FOUND.values(), ids=FOUND.keys())
def test_what_is_personal_is_found(text: str, kind: Pii) -> None:
    """Its kind is named."""
    assert kind in find_pii(text)


@pytest.mark.parametrize(("text", "kind"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_what_only_looks_personal_is_not_found(text: str, kind: Pii) -> None:
    """A check digit that is wrong, or a shape that people do not give such numbers, acquits."""
    assert kind not in find_pii(text)


def test_only_the_kinds_asked_for_are_looked_for() -> None:
    """A rule on cards does not pay for addresses."""
    assert frozenset() == find_pii("jo@example.com", [Pii.CARD])


@given(st.text(alphabet="0123456789", min_size=12, max_size=18))
def test_luhn_accepts_exactly_one_check_digit(digits: str) -> None:
    """Of the ten numbers with these first digits one is right."""
    assert 1 == sum(passes_luhn(digits + last) for last in "0123456789")


def test_iban_holds_modulo_97() -> None:
    """The example of the standard is right, and wrong with two of its digits exchanged."""
    assert (True, False) == (passes_iban("GB82WEST12345698765432"), passes_iban("GB82WEST12345698765423"))


@pytest.mark.parametrize(
    "text", ["1 " * 200_000, "a@" * 200_000, "DE12 " * 100_000, ":" * 300_000, "+1-" * 100_000, "a" * 500_000]
)
@pytest.mark.timeout(20)
def test_half_a_megabyte_made_to_hurt_ends_soon(text: str) -> None:
    """No pattern goes back over the text again and again."""
    find_pii(text)
