"""Personal data in a text: which kinds occur, never what it was. Runs only where a rule asks for it.

The rule: a pattern alone accuses too much. Whatever has a check digit is checked, and numbers need the shape that
people give them; what remains is a screen for routing, no proof that a text is clean.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from modelway_contract.prompt_labels import Pii


def find_pii(text: str, kinds: Iterable[Pii] = tuple(Pii)) -> frozenset[Pii]:
    """Say which of `kinds` occur in the whole text, in time linear in its length."""
    return frozenset(kind for kind in kinds if _FINDERS[kind](text))


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card number."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + at % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def passes_iban(candidate: str) -> bool:
    """Whether the check digits of an account number (upper case, no spaces) are right: ISO 13616, modulo 97."""
    turned = candidate[4:] + candidate[:4]
    return int(turned.translate(_LETTER_VALUES)) % 97 == 1


def _matches(pattern: str) -> Callable[[str], bool]:
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


_CARD: Final = re.compile(r"(?<![\d.])[3-6]\d{3}(?:[ -]?\d){8,15}(?![\d.]*\d)", re.ASCII)
_IBAN: Final = re.compile(
    r"(?<![A-Za-z\d])[A-Za-z]{2}\d{2}(?: ?[A-Za-z\d]{4}){2,7}(?: ?[A-Za-z\d]{1,3})?(?![A-Za-z\d])", re.ASCII
)
_IPV4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d]|\.\d)", re.ASCII)
_IPV6: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])", re.ASCII)
_SSN: Final = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", re.ASCII)
_PHONE: Final = re.compile(
    r"(?<![\w+.-])(?:\+\d{1,3}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5})(?![\w-]|\.\d)",
    re.ASCII,
)
_KEY: Final = (
    r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{20,}|gh[opsu]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|A(?:KIA|SIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----)"
)
_CARD_DIGITS: Final = range(13, 20)
_IBAN_LENGTH: Final = range(15, 35)
_LETTER_VALUES: Final = str.maketrans({letter: str(int(letter, 36)) for letter in string.ascii_uppercase})


def _card(text: str) -> bool:
    for found in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", found[0])
        if len(digits) in _CARD_DIGITS and len(set(digits)) > 1 and passes_luhn(digits):
            return True
    return False


def _iban(text: str) -> bool:
    for found in _IBAN.finditer(text):
        # The pattern may have taken a word after the number along: the account then ends with an earlier group.
        groups = found[0].upper().split(" ")
        for count in range(len(groups), 0, -1):
            candidate = "".join(groups[:count])
            if len(candidate) in _IBAN_LENGTH and passes_iban(candidate):
                return True
    return False


def _ip(text: str) -> bool:
    return any(_is_address(found[0]) for pattern in (_IPV4, _IPV6) for found in pattern.finditer(text))


def _is_address(candidate: str) -> bool:
    try:
        address = ip_address(candidate)
    except ValueError:
        return False
    return not address.is_unspecified


_FINDERS: Final[dict[Pii, Callable[[str], bool]]] = {
    Pii.EMAIL: _matches(
        r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}(?![\w])"
    ),
    Pii.CARD: _card,
    Pii.IBAN: _iban,
    Pii.SSN: lambda text: _SSN.search(text) is not None,
    Pii.PHONE: lambda text: _PHONE.search(text) is not None,
    Pii.KEY: _matches(_KEY),
    Pii.IP: _ip,
}
