"""What users may put into requests to backends, and match in requests of clients: URLs, headers, query parameters.

The rule to know: nothing here may carry a key. Keys live in Secrets, and a spec is read by far more people than a
Secret is. So what looks like a key is refused, as is every header that belongs to the connection or to a login.
"""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from modelway_operator.api.rules import (
    Rule,
    beginning_with,
    cel_text,
    matching,
    not_holding,
    of_values,
)

_CONNECTION_HEADERS = (
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
_GATEWAY_HEADERS = ("accept",)
"""Rules may look at these, but to a backend the gateway sets them itself."""
_LOGIN_HEADERS = ("authorization", "cookie", "proxy-authenticate", "proxy-authorization", "set-cookie")
_KEY_HEADERS = ("api-key", "x-api-key", "x-auth-token", "x-goog-api-key")
_KEY_PARAMETERS = (
    "access_token", "api-key", "api_key", "apikey", "auth", "key", "password", "secret", "sig", "signature",
    "subscription-key", "token",
)  # fmt: skip

_HEADER_NAME = "[A-Za-z0-9-]{1,64}"
_PARAMETER_NAME = "[A-Za-z0-9._~-]{1,64}"
_PRINTABLE = "[ -~]*"

# The starts that issuers give their keys so that they can be found: OpenAI and its kin, Stripe's form, Groq, Hugging
# Face, xAI, GitHub, AWS, Google, Slack; then tokens in JWT form and anything that says Bearer.
_KEY = (
    "(^|[^A-Za-z0-9])(sk-[A-Za-z0-9_-]{16}|[rs]k_(live|test)_|gsk_[A-Za-z0-9]{16}|hf_[A-Za-z0-9]{16}"
    "|xai-[A-Za-z0-9]{16}|gh[oprsu]_[A-Za-z0-9]{16}|AKIA[A-Z0-9]{12}|AIza[A-Za-z0-9_-]{16}|xox[abp]-"
    "|eyJ[A-Za-z0-9_-]{8,}[.]eyJ|[Bb]earer )"
)
_KEY_REMEDY = "put the key into a Secret and name it under credentials"


def _one_of(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(cel_text(name) for name in names) + "]"


def not_named(names: tuple[str, ...], message: str) -> Rule:
    """The text is none of these names, in whatever letter case."""
    return Rule(
        cel=f"!(self.lowerAscii() in {_one_of(names)})",
        message=message,
        holds=lambda text: text.lower() not in names,
    )


def keys_matching(pattern: str, message: str) -> Rule:
    """Each key of the map looks like this as a whole."""
    rule = matching(pattern, message)
    return Rule(
        cel=f"self.all(k, k.matches({cel_text(f'^({pattern})$')}))",
        message=message,
        holds=lambda entries: all(rule.holds(key) for key in entries),
    )


def keys_not_in(names: tuple[str, ...], message: str) -> Rule:
    """No key of the map is one of these names, in whatever letter case."""
    return Rule(
        cel=f"self.all(k, !(k.lowerAscii() in {_one_of(names)}))",
        message=message,
        holds=lambda entries: not any(key.lower() in names for key in entries),
    )


NO_KEY = not_holding(_KEY, f"must not hold an API key: {_KEY_REMEDY}")
"""For any free text in a spec that might tempt someone."""


_PRINTABLE_VALUE = matching(_PRINTABLE, "each value must be printable ASCII without line ends")

HeaderName = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matching(_HEADER_NAME, "must be a header name of letters, digits and '-'"),
    not_named(
        _CONNECTION_HEADERS + _LOGIN_HEADERS + _KEY_HEADERS,
        "must not be Authorization, Host, Content-Length or another header of the login or the connection;"
        " use a header of your own, or the client",
    ),
]
"""The name of a request header that rules may look at."""

CredentialHeader = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matching(_HEADER_NAME, "must be a header name of letters, digits and '-'"),
    not_named(
        _CONNECTION_HEADERS + _GATEWAY_HEADERS + _LOGIN_HEADERS,
        "must not be Authorization (use scheme: Bearer) or a header of the connection;"
        " name the one that the backend reads its key from, such as x-api-key",
    ),
]
"""The name of the header that carries a key."""

HeaderValue = Annotated[
    str,
    Field(min_length=1, max_length=256),
    matching(_PRINTABLE, "must be printable ASCII without line ends, as header values are"),
]
"""A header's value, or its beginning, to compare with."""

StaticHeaders = Annotated[
    Mapping[str, Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
    of_values(_PRINTABLE_VALUE),
    of_values(NO_KEY),
    keys_matching(_HEADER_NAME, "each header name must be of letters, digits and '-', at most 64"),
    keys_not_in(
        _CONNECTION_HEADERS + _GATEWAY_HEADERS + _LOGIN_HEADERS + _KEY_HEADERS,
        "must not set Authorization, Host, Content-Length or another header of the login or the connection;"
        f" {_KEY_REMEDY}",
    ),
]
"""Fixed headers of the requests to a backend."""

StaticQuery = Annotated[
    Mapping[str, Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
    of_values(_PRINTABLE_VALUE),
    of_values(NO_KEY),
    keys_matching(_PARAMETER_NAME, "each parameter name must be of letters, digits, '.', '_', '~' and '-', at most 64"),
    keys_not_in(_KEY_PARAMETERS, f"must not carry a key: {_KEY_REMEDY}"),
]
"""Fixed query parameters of the requests to a backend."""

_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_WITHOUT_USER = "^https?://[^/@]*(/|$)"
_WITH_HOST = f"^https?://{_HOST}(:{_PORT})?([^A-Za-z0-9.:-]|$)"

_ODD_CHARACTERS = r"[^!-~]|[\\#?]"
_NO_ODD_CHARACTERS = not_holding(
    _ODD_CHARACTERS,
    "must be printable ASCII without spaces, line ends, '\\', '#' and '?'; query parameters belong under query",
)
_NO_DOTS = not_holding(
    "[.][.]|%(0[0Aa]|0[Dd]|2[EeFf]|5[Cc])",
    "must not hold '..' or an encoded dot, slash, backslash or line end: write the path that is meant",
)

# Judges only what the rules before it let pass, so that a URL with one fault gets one message.
_HOST_AND_PORT = Rule(
    cel=f"!self.matches({cel_text(_WITHOUT_USER)}) || self.matches({cel_text(_WITH_HOST)})",
    message="must name a host, and a port from 1 to 65535 if any, such as https://llm.example.com:8443/v1",
    holds=lambda url: re.search(_WITHOUT_USER, url) is None or re.search(_WITH_HOST, url) is not None,
)

_SCHEME = beginning_with("must begin with http:// or https://", "http://", "https://")
_USER = "^[a-z]+://[^/]*@"

URL_RULES = (
    _SCHEME,
    not_holding(_USER, f"must not hold a user or password: {_KEY_REMEDY}"),
    _NO_ODD_CHARACTERS,
    _NO_DOTS,
    _HOST_AND_PORT,
    NO_KEY,
)
"""What holds for the base URL of a backend; judged on the backend, since a URL may hold a password."""

_NO_LOGIN = "a classifier is asked without a login; let the gateways reach it by the network"

CLASSIFIER_URL_RULES = (
    _SCHEME,
    not_holding(_USER, f"must not hold a user or password: {_NO_LOGIN}"),
    not_holding(
        _ODD_CHARACTERS,
        "must be printable ASCII without spaces, line ends, '\\', '#' and '?'; host and path alone say which"
        " classifier is meant",
    ),
    _NO_DOTS,
    _HOST_AND_PORT,
    not_holding(_KEY, f"must not hold an API key: {_NO_LOGIN}"),
)
"""What holds for the URL of a classifier; judged on the classifier, since a URL may hold a password."""

BackendURL = Annotated[str, Field(min_length=1, max_length=1024)]
"""The base URL of a backend."""

BasePath = Annotated[
    str,
    Field(min_length=1, max_length=256),
    beginning_with("must begin with '/'", "/"),
    _NO_ODD_CHARACTERS,
    _NO_DOTS,
]
"""What stands before /chat/completions in the path of a request."""
